"""Reads raw shards that are webdataset tars."""

import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from curation.corpora.readers.base import IMAGE_ENDINGS, SIDE_ENDINGS, Part, RawSample, Source, bounded, size_of
from curation.errors import RowError, in_one_line
from curation.keys import make_key, well_formed

_DAMAGED_TAR = (tarfile.TarError, EOFError, ValueError, ArithmeticError, MemoryError, RecursionError)
"""Exceptions that tarfile raises on damaged headers."""


class TarSource(Source):
    """A webdataset tar: members whose names agree up to the first dot of the base name form one sample."""

    ending = ".tar"

    def samples(self) -> Iterator[RawSample]:
        """See Source."""
        seen: set[str] = set()
        names: set[str] = set()
        with self.fs.open(self.path, "rb") as file:
            for member, parts in self._groups(file):
                for sample in _images_of(member, parts):
                    self._fill(sample, member, parts)
                    name = make_key("", "", member)
                    if sample.error is None and name in names:
                        sample.error = RowError("duplicate_member", "an earlier member of this shard has the same name")
                    names.add(name)
                    seen.add(member)
                    yield sample
        self.without_image = len(self._rows.keys() - seen)

    def _groups(self, file: BinaryIO) -> Iterator[tuple[str, list["Part"]]]:
        group: str | None = None
        parts: list[Part] = []
        for name, offset, data, error in self._members(file):
            folder, _, base = name.rpartition("/")
            stem, _, ending = base.partition(".")
            key = well_formed(f"{folder}/{stem}" if folder else stem)
            if key != group and parts and group is not None:
                yield group, parts
                parts = []
            group = key
            parts.append(Part(ending.lower(), offset, data, error))
        if parts and group is not None:
            yield group, parts

    def _members(self, file: BinaryIO) -> Iterator[tuple[str, int, bytes, RowError | None]]:
        """Yields the name, data offset, data and reading error of each regular member."""
        end = size_of(file)
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                while (info := tar.next()) is not None:
                    tar.members.clear()  # type: ignore[attr-defined]  # else every header of a shard stays in memory
                    if not info.isreg() or info.name.rpartition("/")[2].startswith("."):
                        continue  # folders, links, hidden files such as the "._" ones of macOS
                    if info.issparse():
                        yield info.name, info.offset_data, b"", RowError("unreadable", "stored as a sparse file")
                        continue
                    if info.offset_data + info.size > end:
                        cut = RowError("truncated", "the tar ends within this file")
                        yield info.name, min(info.offset_data, end), b"", cut
                        self.damage = f"the tar ends early, within {info.name}"
                        return
                    file.seek(info.offset_data)
                    data, error = bounded(file, info.size)
                    yield info.name, info.offset_data, data, error
                self.damage = _end_of_tar(file, tar.offset)
        except _DAMAGED_TAR as error:
            self.damage = f"damaged tar: {in_one_line(error)}"


def _images_of(member: str, parts: list[Part]) -> list[RawSample]:
    """Returns the images of one sample's members, chosen by their endings.

    More than one means that the sample's name is used twice: a second image of the same ending is of another sample.
    """
    images = [p for p in parts if p.ending in IMAGE_ENDINGS]
    images = images or [p for p in parts if p.ending.rpartition(".")[2] not in SIDE_ENDINGS]
    endings = {images[0].ending} if images and images[0].ending in IMAGE_ENDINGS else {p.ending for p in images}
    return [RawSample(member, p.offset, p.data, error=p.error) for p in images if p.ending in endings]


def _end_of_tar(file: BinaryIO, offset: int) -> str | None:
    """Returns what is wrong with a tar's end, or None: tarfile takes a damaged header in the middle for the end."""
    file.seek(offset)
    block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE:
        return "the tar ends early, without its end mark"
    return None if not block.strip(b"\0") else f"damaged tar: unreadable header at byte {offset}"
