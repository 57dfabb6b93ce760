"""Compressed tars, which are not read in place: recognizes them, and tells the command that unpacks one."""

from typing import NamedTuple


class Compression(NamedTuple):
    """A method of compression."""

    name: str
    command: str
    """The command that unpacks a file to standard output."""
    magic: bytes
    """The first bytes of a compressed file."""
    endings: tuple[str, ...]
    """The endings of compressed tars."""


METHODS = (
    Compression("gzip", "gzip -dc", b"\x1f\x8b", (".tgz", ".tar.gz")),
    Compression("bzip2", "bzip2 -dc", b"BZh", (".tbz2", ".tar.bz2")),
    Compression("xz", "xz -dc", b"\xfd7zXZ", (".txz", ".tar.xz")),
    Compression("zstd", "zstd -dc", b"\x28\xb5\x2f\xfd", (".tzst", ".tar.zst")),
)


def by_first_bytes(head: bytes) -> Compression | None:
    """Returns the method by which a file is compressed, told by its first eight bytes; None if it is not."""
    return next((method for method in METHODS if head.startswith(method.magic)), None)


def by_name(path: str) -> Compression | None:
    """Returns the method by which a tar is compressed, told by its name; None for another file."""
    return next((method for method in METHODS if path.lower().endswith(method.endings)), None)
