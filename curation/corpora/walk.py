"""The files below a folder: each once, symbolic links to folders followed, nothing that would block on opening."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from fsspec.implementations.local import LocalFileSystem


@dataclass
class Walk:
    """What lies below a folder."""

    files: list[str] = field(default_factory=list)
    """Paths of the files, as the file system names them, sorted; hidden files and those in hidden folders are left
    out."""
    notes: list[str] = field(default_factory=list)
    """Messages about links that were not followed or lead elsewhere, and about what is no file."""


def walk(fs: Any, root: str) -> Walk:
    """Finds the files below a folder of any file system; see `Walk`.

    A folder that is reached by several ways is walked once: by its own path if that lies below the root, else by the
    first link. A file that is a broken link is kept, so that its row says so.
    """
    if not isinstance(fs, LocalFileSystem):
        paths = (path for path in fs.find(root) if not _hidden(path[len(root) :]))
        return Walk(sorted(paths))
    found = Walk()
    walked = {os.path.realpath(root)}
    links: list[str] = []
    found.files += _files(root, walked, links, found.notes)
    while links:  # only now, since a folder's own path comes first
        link = links.pop(0)
        target = os.path.realpath(link)
        if target in walked:
            loop = f"{os.path.realpath(os.path.dirname(link))}/".startswith(f"{target}/")
            why = "it leads back to a folder above it" if loop else "its folder is read under another path"
            found.notes.append(f"{link}: the link is not followed: {why}")
            continue
        if not f"{target}/".startswith(f"{os.path.realpath(root)}/"):
            found.notes.append(f"{link}: the link leads out of the corpus, to {target}; its files are read")
        walked.add(target)
        found.files += _files(link, walked, links, found.notes)
    found.files.sort()
    return found


def _files(root: str, walked: set[str], links: list[str], notes: list[str]) -> Iterator[str]:
    """Yields the files below a folder but for those behind links to folders, which it adds to `links`."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in list(folders):
            path, target = f"{folder}/{name}", os.path.realpath(f"{folder}/{name}")
            if os.path.islink(path):
                links.append(path)
            if os.path.islink(path) or target in walked:
                folders.remove(name)
            else:
                walked.add(target)
        for name in names:
            path = f"{folder}/{name}"
            if name.startswith("."):
                continue
            if _is_regular(path):
                yield path
            else:
                notes.append(f"{path}: a pipe, a socket or a device; it is not opened")


def _is_regular(path: str) -> bool:
    """Returns whether opening the path cannot block; a broken link cannot, nor can a file that is gone by now."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return True


def _hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))
