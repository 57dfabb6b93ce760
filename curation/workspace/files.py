"""Writes the workspace's files atomically, with notes in their footer, and verifies them when they are read."""

import contextlib
import errno
import json
import os
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.errors import StageError, WorkspaceError, in_one_line

Stamp = str | None
"""A file's size in bytes and modification time in ns, as text to save memory; None if the file is missing."""


def stamps(files: Iterable[str]) -> list[Stamp]:
    """Returns the stamp of each file."""
    file_stamps: list[Stamp] = []
    for path in files:
        try:
            stat = os.stat(path)
            file_stamps.append(f"{stat.st_size}:{stat.st_mtime_ns}")
        except OSError:
            file_stamps.append(None)
    return file_stamps


ROWS = "rows"
"""The note in a Parquet file's footer that holds the number of rows it was written with."""


_fencing_token: str | None = None
"""The token under which this process writes; None checks nothing."""


@contextlib.contextmanager
def fenced(token: str | None) -> Iterator[None]:
    """Lets `replacing` write, within the context, only while the run that the fencing token names holds the lock.

    A worker on another machine may outlive its killed run, and would otherwise write while the next run does.

    Args:
        token: the token that `curation.workspace.lock.lock` yielded; None checks nothing.
    """
    global _fencing_token
    _fencing_token = token
    try:
        yield
    finally:
        _fencing_token = None


def _check_token(token: str) -> None:
    """Raises StageError if the run that the fencing token names no longer holds the lock."""
    ours, _, holder = token.partition(" ")
    try:
        run = json.loads(Path(holder).read_text()).get("run")
    except (OSError, ValueError):
        run = None
    if run != ours:
        raise StageError(f"{holder}: the run that this worker works for has ended; nothing is written")


_NOT_WRITABLE = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}


@contextlib.contextmanager
def replacing(path: Path, scratch: Path | None = None) -> Iterator[Path]:
    """Yields a temporary path; the file is then synced and renamed over `path`, or removed on an error.

    Args:
        path: the file to be written.
        scratch: folder of the temporary file, on the same file system; None for the file's own folder. A process that
            is killed leaves it behind, which must not be in a folder that others read.

    Raises:
        WorkspaceError: the disk is full or the folder cannot be written, in one line.
        StageError: the file cannot be written for another reason, or the run has ended (see `fenced`).
    """
    folder = scratch or path.parent
    temporary = folder / f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        if _fencing_token is not None:
            _check_token(_fencing_token)
        os.replace(temporary, path)
    except OSError as error:
        kind = WorkspaceError if error.errno in _NOT_WRITABLE else StageError
        raise kind(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_table(
    path: Path, table: pa.Table, fingerprint: str = "", scratch: Path | None = None, /, **notes: str
) -> None:
    """Writes a Parquet file atomically.

    Args:
        path, scratch: see `replacing`.
        table: the table.
        fingerprint: digest of all that the file is made from, for its footer.
        notes: further texts for the footer, by name.
    """
    notes = {"fingerprint": fingerprint, ROWS: str(table.num_rows)} | notes
    metadata = {name.encode(): note.encode() for name, note in notes.items()}
    with replacing(path, scratch) as temporary:
        noted = table.replace_schema_metadata(metadata)
        with_dictionary = _with_dictionary(table.schema)
        pq.write_table(noted, temporary, compression="zstd", use_dictionary=with_dictionary, write_page_checksum=True)


def _with_dictionary(schema: pa.Schema) -> bool | list[str]:
    """Returns the columns to be written with a dictionary, by their Parquet names: all but vectors.

    The values of a vector hardly ever repeat: looking each of them up takes most of the writing time and saves nothing.
    """
    vectors = {f"{field.name}.list.element" for field in schema if pa.types.is_fixed_size_list(field.type)}
    if not vectors:
        return True
    empty = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), empty)
    columns = pq.ParquetFile(empty.getvalue()).schema  # names of the leaves, where a column is nested
    return [path for path in (columns.column(i).path for i in range(len(columns))) if path not in vectors]


REMADE = "delete it and run the stage that makes it again"
"""What to do about a damaged file that a stage makes."""
GIVEN = "put the last copy of it in its place: what people gave is made by no stage"
"""What to do about a damaged file of what people gave."""


def read_table(path: Path, columns: list[str] | None = None, remedy: str = REMADE, **options: Any) -> pa.Table:
    """Reads a Parquet file of the workspace and verifies the checksum of every page.

    Args:
        path: the file.
        columns: the columns to read; None for all.
        remedy: what the message says that a user may do about a damaged file.
        options: see `pyarrow.parquet.read_table`.

    Raises:
        FileNotFoundError: there is no such file.
        StageError: the file is damaged; the message names it.
    """
    try:
        return pq.read_table(path, columns=columns, page_checksum_verification=True, **options)
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException) as error:
        detail = in_one_line(error, 120)
        raise StageError(f"{path} is damaged; {remedy} ({detail})") from None


def remove_damaged(files: Iterable[str | Path]) -> None:
    """Deletes the damaged ones among the derived files of a failed query, so that the next run makes them anew.

    Raises:
        StageError: a file was damaged; the message names it.
    """
    damaged = [path for path in map(Path, files) if not _readable(path)]
    for path in damaged:
        path.unlink(missing_ok=True)
    if damaged:
        raise StageError(f"{damaged[0]} was damaged and is removed; run the same command again to make it anew")


def _readable(path: Path) -> bool:
    try:
        read_table(path)
    except (StageError, FileNotFoundError):
        return False
    return True


def write_text(path: Path, text: str, scratch: Path | None = None) -> None:
    """Writes a text file atomically, in UTF-8."""
    with replacing(path, scratch) as temporary:
        temporary.write_text(text, encoding="utf-8")


def footer(path: Path) -> dict[str, str] | None:
    """Returns the notes in a Parquet file's footer, `fingerprint` included; None if the file is missing or damaged."""
    try:
        metadata = pq.read_metadata(path)
        notes = {k.decode(): v.decode() for k, v in (metadata.metadata or {}).items() if not k.startswith(b"ARROW")}
    except (OSError, pa.ArrowException, UnicodeDecodeError):
        return None
    return notes if notes.get(ROWS, str(metadata.num_rows)) == str(metadata.num_rows) else None


def fingerprint(path: Path) -> str | None:
    """Returns the fingerprint of the inputs of a Parquet file; None if it has none, is missing or is damaged."""
    return (footer(path) or {}).get("fingerprint")


def json_object(path: Path) -> dict[str, Any]:
    """Reads a JSON object from a file; returns an empty dict if the file is missing or holds anything else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
