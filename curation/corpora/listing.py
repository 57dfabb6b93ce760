"""Lists the shards of raw corpora.

A corpus is one of img2dataset's three outputs (`webdataset` tars, `parquet` with image bytes, `files`), any plain
`folder` of images, or a folder of shards that the user's own reader opens. It is at a local path or any fsspec URL.
"""

import os
from pathlib import PurePosixPath
from typing import Any

import fsspec

from curation.corpora.readers import SIDE_ENDINGS, Source, reader
from curation.errors import UserError
from curation.keys import well_formed
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


def list_sources(
    corpus: Corpus, listing: dict[str, list[str]] | None = None, workspace: str | None = None
) -> list[Source]:
    """Returns a reader for each shard of a corpus, sorted by the shard's name.

    Args:
        corpus: the corpus.
        listing: for a plain folder, the files assigned to each shard so far; new files go to new shards.
        workspace: the workspace's folder; files below it are not the corpus's, even if it lies within the corpus's
            folder.

    Raises:
        UserError: the corpus's folder is missing, or holds no shard, two shards of one name, or a shard named `files`.
    """
    fs, root = fsspec.core.url_to_fs(corpus.path)
    if not fs.isdir(root):
        raise UserError(f"no such folder: {corpus.path}", f"corpora.{corpus.name}.path")
    if corpus.format == "folder":
        ours = f"{workspace}/" if workspace else None
        files = [f for f in _files_below(fs, root) if not (ours and f"{root}/{f}".startswith(ours))]
        shards = deal(files, listing or {})
        if not shards:
            raise UserError(f"no image file in {corpus.path}", f"corpora.{corpus.name}.path")
        return [open_source(corpus, shard, root, members) for shard, members in shards.items()]
    if corpus.format == "files":
        folders = sorted(p.rstrip("/") for p in fs.ls(root, detail=False) if fs.isdir(p))
        if not folders:
            raise UserError(f"no folder of images in {corpus.path}", f"corpora.{corpus.name}.path")
        return [open_source(corpus, os.path.basename(p), p, _files_below(fs, p)) for p in folders]
    ending = reader(corpus).ending
    paths = sorted(p for p in fs.find(root) if p.endswith(ending) and not os.path.basename(p).startswith("."))
    if not paths:
        raise UserError(f"no {ending} file in {corpus.path}", f"corpora.{corpus.name}.path")
    by_shard: dict[str, str] = {}
    for path in paths:
        shard = os.path.basename(path)[: -len(ending)]
        if shard == "files":
            raise UserError(f"no shard may be named files: {path}; rename it", f"corpora.{corpus.name}.path")
        if shard in by_shard:
            raise UserError(
                f"two shards are named {shard}: {by_shard[shard]} and {path}", f"corpora.{corpus.name}.path"
            )
        by_shard[shard] = path
    return [open_source(corpus, shard, by_shard[shard]) for shard in sorted(by_shard)]


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


def _files_below(fs: Any, root: str) -> list[str]:
    """Returns the files that may be images, sorted, relative to the folder; hidden files are left out."""
    prefix = root.rstrip("/") + "/"
    infos = fs.find(root, detail=True).items()
    relative = (well_formed(p[len(prefix) :]) for p, info in infos if not _is_special(fs, p, info))
    return sorted(
        p
        for p in relative
        if not any(part.startswith(".") for part in p.split("/"))
        and PurePosixPath(p).suffix[1:].lower() not in SIDE_ENDINGS
    )


def _is_special(fs: Any, path: str, info: dict[str, Any]) -> bool:
    """Returns whether a path, unlike a broken link, is a pipe, socket or device, which might block when opened."""
    return info["type"] != "file" and fs.exists(path) and not (fs.isfile(path) or fs.isdir(path))
