"""Lists the shards of raw corpora.

A corpus is one of img2dataset's three outputs (`webdataset` tars, `parquet` with image bytes, `files`), any plain
`folder` of images, or a folder of shards that the user's own reader opens. It is at a local path or any fsspec URL.
"""

import os
import unicodedata
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

import fsspec

from curation.corpora.readers import IMAGE_ENDINGS, SIDE_ENDINGS, Source, reader
from curation.corpora.readers.compression import by_name
from curation.corpora.readers.members import clean
from curation.corpora.readers.members import ending as ending_of
from curation.corpora.walk import Walk, walk
from curation.decoding.magic import HEAD, looks_like_an_image
from curation.errors import UserError
from curation.recipe.sections import Corpus

FOLDER_SHARD = 10_000
"""Number of files of a plain folder that form one shard."""


def open_source(corpus: Corpus, shard: str, path: str, members: list[str] | None = None) -> Source:
    """Returns the reader of one raw shard, chosen by the corpus's format.

    Args:
        corpus: the corpus.
        shard: the shard's name.
        path: the shard's file or folder, as fsspec names it.
        members: for the formats `folder` and `files`, the shard's files, relative to `path`; None otherwise.
    """
    return reader(corpus)(corpus, shard, path, members)


@dataclass
class Listing:
    """The shards of one corpus."""

    sources: list[Source]
    """A reader for each shard, sorted by the shard's name."""
    notes: list[str] = field(default_factory=list)
    """Messages about what was found beside the shards and is not read."""
    others: Counter[str] = field(default_factory=Counter)
    """Number of files of a plain folder that are no images, by ending."""


def list_sources(corpus: Corpus, known: dict[str, list[str]] | None = None, workspace: str | None = None) -> Listing:
    """Finds the shards of a corpus.

    Args:
        corpus: the corpus.
        known: for a plain folder, the files assigned to each shard so far; new files go to new shards.
        workspace: the workspace's folder; files below it are not the corpus's, even if it lies within the corpus's
            folder.

    Raises:
        UserError: the corpus's folder is missing, or holds no shard, two shards of one name, or a shard named `files`.
    """
    fs, root = fsspec.core.url_to_fs(corpus.path)
    key = f"corpora.{corpus.name}.path"
    if not fs.isdir(root):
        raise UserError(f"no such folder: {corpus.path}", key)
    if corpus.format == "files":
        return _list_folders(corpus, fs, root)
    found = walk(fs, root)
    if corpus.format == "folder":
        return _list_images(corpus, fs, root, found, known or {}, workspace)
    ending = reader(corpus).ending
    by_shard: dict[str, str] = {}
    for path in (path for path in found.files if path.lower().endswith(ending.lower())):
        shard = os.path.basename(path)[: -len(ending)]
        if shard == "files":
            raise UserError(f"no shard may be named files: {path}; rename it", key)
        same = unicodedata.normalize("NFC", shard)  # as in keys: a name may be spelled in two ways
        if same in by_shard:
            raise UserError(f"two shards are named {same}: {by_shard[same]} and {path}; rename one", key)
        by_shard[same] = path
    packed = _compressed(found.files) if ending == ".tar" else None
    if packed and not by_shard:
        raise UserError(packed, key)
    found.notes += [packed] if packed else []
    if not by_shard:
        raise UserError(f"no {ending} file in {corpus.path}", key)
    shards = sorted((os.path.basename(path)[: -len(ending)], path) for path in by_shard.values())
    return Listing([open_source(corpus, shard, path) for shard, path in shards], found.notes)


def _compressed(paths: list[str]) -> str | None:
    """Returns a line on the compressed tars among the files of a corpus, with the way out; None if there are none."""
    tars = [(path, method) for path in paths if (method := by_name(path))]
    if not tars:
        return None
    (path, method), *others = tars
    ending = next(ending for ending in method.endings if path.lower().endswith(ending))
    many = f" and {len(others)} more" if others else ""
    unpack = f"{method.command} {path} > {path[: -len(ending)]}.tar"
    return f"{path}{many}: compressed with {method.name}, and not read; unpack: {unpack}"


def _list_images(
    corpus: Corpus, fs: Any, root: str, found: Walk, known: dict[str, list[str]], workspace: str | None
) -> Listing:
    """Deals the images of a plain folder into shards."""
    prefix, ours = root.rstrip("/") + "/", f"{workspace}/" if workspace else None
    images, others = [], Counter[str]()
    dealt = {member for members in known.values() for member in members}
    for path in found.files:
        member = clean(path[len(prefix) :])
        if ours and path.startswith(ours):
            continue
        kind = _kind(fs, path, member, dealt)
        if kind is None:
            images.append(member)
        elif kind not in SIDE_ENDINGS:
            others[kind] += 1
    shards = deal(sorted(images), known)
    if not shards:
        raise UserError(f"no image file in {corpus.path}", f"corpora.{corpus.name}.path")
    sources = [open_source(corpus, shard, root, members) for shard, members in shards.items()]
    return Listing(sources, found.notes, others)


def _list_folders(corpus: Corpus, fs: Any, root: str) -> Listing:
    """Lists img2dataset's `files`: each folder is a shard."""
    listing = Listing([])
    for path in sorted(path.rstrip("/") for path in fs.ls(root, detail=False) if fs.isdir(path)):
        found = walk(fs, path)
        members = [(file, clean(file[len(path) + 1 :])) for file in found.files]
        kinds = [_kind(fs, file, member, ()) for file, member in members]
        images = sorted(member for (_, member), kind in zip(members, kinds, strict=True) if kind is None)
        listing.others.update(kind for kind in kinds if kind is not None and kind not in SIDE_ENDINGS)
        listing.notes += found.notes
        listing.sources.append(open_source(corpus, os.path.basename(path), path, images))
    if not listing.sources:
        raise UserError(f"no folder of images in {corpus.path}", f"corpora.{corpus.name}.path")
    return listing


def _kind(fs: Any, path: str, member: str, dealt: Container[str]) -> str | None:
    """Returns the ending of a file that is no image; None for an image, by its name or else by its first bytes."""
    kind = ending_of(member)
    if kind in IMAGE_ENDINGS or member in dealt:
        return None
    if kind in SIDE_ENDINGS:
        return kind
    try:
        with fs.open(path, "rb") as file:
            return None if looks_like_an_image(file.read(HEAD)) else kind
    except OSError:
        return None  # the row will say why


def deal(files: list[str], listing: dict[str, list[str]]) -> dict[str, list[str]]:
    """Assigns sorted files to shards of 10,000; files assigned before stay in their shard, new files go to new shards.

    Args:
        files: all files of the folder, sorted.
        listing: the files assigned to each shard so far.

    Returns:
        The files of each shard, by the shard's name (a number of five digits).
    """
    shards = {shard: list(members) for shard, members in sorted(listing.items())}
    known = {member for members in shards.values() for member in members}
    new = [f for f in files if f not in known]
    first = 1 + max((int(s) for s in shards), default=-1)
    for number, start in enumerate(range(0, len(new), FOLDER_SHARD)):
        shards[f"{first + number:05d}"] = new[start : start + FOLDER_SHARD]
    return shards
