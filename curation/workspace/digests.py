"""Computes digests: equal values and equal files have equal digests on every machine."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa

END = 2**20
"""Number of bytes at each end of a file that are compared before its cached digest is believed: whoever exchanges a
file can keep its size and time."""


def canonical(value: Any) -> str:
    """Returns JSON with sorted keys and without spaces, so that equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any) -> str:
    """Returns the hexadecimal sha256 of a value's canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def table_digest(table: pa.Table, columns: list[str]) -> str:
    """Returns the hexadecimal sha256 of some columns of a table, in row order; it does not depend on the chunks."""
    hasher = hashlib.sha256()
    for name in columns:
        column = table[name].combine_chunks()
        hasher.update(f"{name}:{len(column)};".encode())
        for value in column.to_pylist():
            data = b"\xff" if value is None else str(value).encode()
            hasher.update(len(data).to_bytes(4, "big") + data)
    return hasher.hexdigest()


def ends_digest(path: Path) -> str:
    """Returns the hexadecimal sha256 of a file's first and last `END` bytes."""
    with open(path, "rb") as file:
        ends = hashlib.sha256(file.read(END))
        file.seek(max(file.tell(), path.stat().st_size - END))
        ends.update(file.read())
    return ends.hexdigest()


def file_digest(path: Path) -> str:
    """Returns the hexadecimal sha256 of a file, cached in this process by path, size, time of change and ends."""
    stat = path.stat()
    known = (str(path), stat.st_size, stat.st_mtime_ns, ends_digest(path))
    if known not in _file_digests:
        with open(path, "rb") as file:
            _file_digests[known] = hashlib.file_digest(file, "sha256").hexdigest()
    return _file_digests[known]


_file_digests: dict[tuple[str, int, int, str], str] = {}
