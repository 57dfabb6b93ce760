"""Reads raw shards that are webdataset tars."""

import posixpath
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from curation.corpora.readers.base import (
    IMAGE_ENDINGS,
    SIDE_ENDINGS,
    RawSample,
    Source,
    bounded,
    size_of,
)
from curation.corpora.readers.compression import by_first_bytes
from curation.corpora.readers.members import (
    Side,
    clean,
    ending,
    is_side,
    member_names,
    sample,
    sides_of,
    stem,
)
from curation.decoding.magic import HEAD, looks_like_an_image
from curation.errors import RowError, in_one_line
from curation.keys import make_key

_DAMAGED_TAR = (tarfile.TarError, EOFError, ValueError, ArithmeticError, MemoryError, RecursionError)
"""Exceptions that tarfile raises on damaged headers."""
_CHUNK = 1 << 20


@dataclass(slots=True)
class _Member:
    """One file of a tar, by its name as in keys."""

    name: str
    offset: int
    size: int
    error: RowError | None = None


class TarSource(Source):
    """A webdataset tar: members whose names agree up to the first dot of the base name form one sample."""

    ending = ".tar"

    def samples(self) -> Iterator[RawSample]:
        """See Source. The tar is read once from front to back, so names and captions are known at its end."""
        images: list[tuple[str, RawSample]] = []
        sides: list[Side] = []
        with self.fs.open(self.path, "rb") as file:
            for member in self._members(file):
                if is_side(member.name):
                    sides.append(Side(member.name, *_read(file, member)))
                elif _is_image(file, member):
                    data, error = _read(file, member)
                    images.append((member.name, RawSample(member.name, member.offset, data, error=error)))
                    yield images[-1][1]
                else:
                    self.others[ending(member.name)] += 1
        self._name(images, sides)

    def _name(self, images: list[tuple[str, RawSample]], sides: list[Side]) -> None:
        """Gives the images their names, captions and metadata."""
        names = [name for name, _ in images]
        taken: set[str] = set()
        listed: set[str] = set()
        for (name, image), member, own in zip(images, member_names(names), sides_of(names, sides), strict=True):
            bases = (posixpath.basename(stem(name)), posixpath.basename(sample(name)))
            if key := self._describe(image, (stem(name), sample(name), *bases), own):
                listed.add(key)
            image.member = member
            unique = make_key("", "", member)
            if image.error is None and unique in taken:
                image.error = RowError("duplicate_member", "an earlier member of this shard has the same name")
            taken.add(unique)
        self.without_image = len(self._rows.keys() - listed)

    def _linked(self, files: dict[str, _Member], links: list[tuple[str, str]]) -> Iterator[_Member]:
        """Yields a member for each link to a file of the tar, through other links too; notes those to nothing."""
        targets = {_plain(name): target for name, target in links}
        for name, target in links:
            for _ in targets:
                if target in files or target not in targets:
                    break
                target = targets[target]
            linked = files.get(target)
            if linked is not None and not posixpath.basename(name).startswith("."):
                yield _Member(clean(name), linked.offset, linked.size, linked.error)
            elif linked is None:
                self.notes.append(f"{self.path}: {clean(name)} is a link to nothing in the tar")

    def _members(self, file: BinaryIO) -> Iterator[_Member]:
        """Yields each regular file of the tar, and each link to one, in order; sets `damage` if the tar is damaged."""
        end = size_of(file)
        if packed := by_first_bytes(file.read(8)):
            way_out = f"unpack it (`{packed.command} < SHARD > SHARD.tar`) and index again"
            self.damage = f"compressed with {packed.name}; {way_out}"
            return
        start: int | None = 0
        files: dict[str, _Member] = {}
        links: list[tuple[str, str]] = []  # names in the tar of links, and of what they lead to
        try:
            while start is not None:
                file.seek(start)
                with tarfile.open(fileobj=file, mode="r:") as tar:
                    while (info := tar.next()) is not None:
                        tar.members.clear()  # type: ignore[attr-defined]  # else all headers stay in memory
                        if info.islnk() or info.issym():
                            links.append((info.name, _target(info)))
                            continue
                        member = _member_of(info)
                        if member is None or posixpath.basename(member.name).startswith("."):
                            continue  # folders, devices, hidden files such as the "._" ones of macOS
                        if member.offset + member.size > end:
                            member.offset, member.size = min(member.offset, end), 0
                            member.error = RowError("truncated", "the tar ends within this file")
                            self.damage = f"the tar ends early, within {member.name}"
                            yield member
                            return
                        files[_plain(info.name)] = member
                        yield member
                    self.damage, start = _behind(file, tar.offset)
            yield from self._linked(files, links)
        except _DAMAGED_TAR as error:
            self.damage = f"damaged tar: {in_one_line(error)}" + (f", at byte {start:,}" if start else "")


def _plain(name: str) -> str:
    """Returns a name in the tar as links are compared with it: without `./` and doubled slashes."""
    return posixpath.normpath(name).lstrip("/")


def _target(info: tarfile.TarInfo) -> str:
    """Returns the name in the tar that a link leads to: of a hard link as it stands, of another from its own folder."""
    folder = "" if info.islnk() else posixpath.dirname(info.name)
    return _plain(posixpath.join(folder, info.linkname))


def _member_of(info: tarfile.TarInfo) -> _Member | None:
    """Returns the file that an entry of a tar is; None for a folder or a device."""
    name = clean(info.name)
    if not info.isreg():
        return None
    if info.size < 0:
        raise tarfile.HeaderError(f"a size of {info.size} bytes")
    if info.issparse():
        return _Member(name, info.offset_data, 0, RowError("unreadable", "stored as a sparse file"))
    return _Member(name, info.offset_data, info.size)


def _read(file: BinaryIO, member: _Member) -> tuple[bytes, RowError | None]:
    """Returns a member's bytes, or the error by which there are none."""
    if member.error is not None:
        return b"", member.error
    file.seek(member.offset)
    return bounded(file, member.size)


def _is_image(file: BinaryIO, member: _Member) -> bool:
    """Returns whether a member is an image, by its ending or, if the ending is unknown, by its first bytes."""
    kind = ending(member.name)
    if kind in IMAGE_ENDINGS or kind in SIDE_ENDINGS:
        return kind in IMAGE_ENDINGS
    file.seek(member.offset)
    return looks_like_an_image(file.read(min(HEAD, member.size)))


def _behind(file: BinaryIO, offset: int) -> tuple[str | None, int | None]:
    """Returns what is wrong where a tar ends, if anything is, and where a further one begins, if one is joined to it.

    tarfile takes a damaged header in the middle for the end. Tars that were joined by `cat` lie behind each other's
    end marks.
    """
    file.seek(offset)
    block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE:
        return "the tar ends early, without its end mark", None
    if block.strip(b"\0"):
        return f"damaged tar: unreadable header at byte {offset}", None
    at = offset + tarfile.BLOCKSIZE
    while chunk := file.read(_CHUNK):
        zeros = len(chunk) - len(chunk.lstrip(b"\0"))
        if zeros < len(chunk):
            return None, at + zeros // tarfile.BLOCKSIZE * tarfile.BLOCKSIZE
        at += len(chunk)
    return None, None
