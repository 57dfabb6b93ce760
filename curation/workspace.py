"""The workspace folder: where each stage's files are, how they are written, and when they are up to date.

Every stage writes `STAGE/CORPUS/SHARD.parquet`. A file is there whole or not at all (written under a temporary name,
synced, renamed), and carries in its footer the fingerprint of what it was made from: it is done when that matches.
"""

import contextlib
import errno
import hashlib
import json
import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import pyarrow as pa
import pyarrow.parquet as pq

from curation.errors import StageError, UserError, WorkspaceError

ROWS = "rows"
"""The note in a Parquet file's footer of how many rows it was written with."""


class Workspace:
    """Paths of one workspace.

    Args:
        root: a local folder (or a mounted one); made when first written to.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def samples(self, corpus: str, shard: str) -> Path:
        """What the index knows of each image of a raw shard."""
        return self.root / "samples" / corpus / f"{shard}.parquet"

    def folder_listing(self, corpus: str) -> Path:
        """For a plain folder: which file was dealt to which shard."""
        return self.root / "samples" / corpus / "files.parquet"

    def signal(self, name: str, corpus: str, shard: str) -> Path:
        """One signal's scores, row-aligned with the samples file of the same shard."""
        return self.root / "signals" / name / corpus / f"{shard}.parquet"

    def wide(self, corpus: str, shard: str) -> Path:
        """The samples and all signals side by side, without lists and long text; derived, may be deleted."""
        return self.root / "signals" / ".wide" / corpus / f"{shard}.parquet"

    @property
    def duplicates(self) -> Path:
        """The duplicates that the last select or report found, if it compared embeddings; derived, may be deleted."""
        return self.root / "signals" / ".wide" / "duplicates.parquet"

    def selection(self, corpus: str, shard: str) -> Path:
        """The fate of every row."""
        return self.root / "selection" / corpus / f"{shard}.parquet"

    def captions(self, corpus: str, shard: str) -> Path:
        """Captions of the kept rows."""
        return self.root / "captions" / corpus / f"{shard}.parquet"

    def answers(self, corpus: str, shard: str) -> Path:
        """What captioners and translators were asked for a raw shard, and answered; see `curation.captions.answers`."""
        return self.root / "captions" / ".answers" / corpus / f"{shard}.sqlite"

    @property
    def votes(self) -> Path:
        """Every vote ever imported, append-only by revision."""
        return self.root / "votes.parquet"

    @property
    def levels(self) -> Path:
        """What the votes of each image come to."""
        return self.root / "levels.parquet"

    @property
    def funnel(self) -> Path:
        """The counts of the last select, for the card and the report."""
        return self.root / "selection" / "funnel.json"

    def ledger(self, stage: str) -> Path:
        """What a stage has done, one line a shard; see `curation.ledger`."""
        return self.root / ".ledger" / f"{stage}.jsonl"

    @property
    def running(self) -> Path:
        """How far the stage that runs now has come."""
        return self.root / ".running.json"

    @property
    def runs(self) -> Path:
        """One line of JSON for each run of a stage: when, how long, how many rows."""
        return self.root / "logs" / "runs.jsonl"

    def product(self, phase: str) -> Path:
        """The shards of one training phase: `concept` or `quality`."""
        return self.root / "shards" / phase

    def shards(self, corpus: str) -> list[str]:
        """Names of the corpus's indexed shards, sorted."""
        listing = self.folder_listing(corpus).name
        try:
            names = os.listdir(self.root / "samples" / corpus)
        except OSError:
            return []
        found = (n for n in names if n.endswith(".parquet") and not n.startswith(".") and n != listing)
        return sorted(n.removesuffix(".parquet") for n in found)

    @contextlib.contextmanager
    def lock(self, stage: str) -> Iterator[str]:
        """Held by a stage while it writes; a second one is told who holds it (StageError).

        Gives the run's fence, by which its workers know that it still is the one that may write (see Fence).
        """
        self._make(self.root)
        holder = self.root / ".lock.json"
        lock = filelock.FileLock(self.root / ".lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            who = "another process"
            with contextlib.suppress(OSError, ValueError, KeyError):
                said = json.loads(holder.read_text())
                who = f"curate {said['stage']} (process {said['pid']} on {said['host']})"
            raise StageError(f"{self.root} is in use by {who}; wait for it, or stop it") from None
        except OSError as error:
            raise UserError(f"workspace: cannot write {self.root}: {error.strerror}") from None
        try:
            if holder.exists():  # the last run was killed
                self.sweep()
            run = uuid.uuid4().hex
            said = {"stage": stage, "pid": os.getpid(), "host": socket.gethostname(), "run": run}
            with replacing(holder) as temporary:
                temporary.write_text(json.dumps(said))
            yield f"{run} {holder}"
        finally:
            holder.unlink(missing_ok=True)
            lock.release()

    def sweep(self) -> None:
        """Removes what killed writers have left under temporary names; the caller holds the lock."""
        for folder, _folders, files in os.walk(self.root):
            for name in files:
                if name.startswith(".") and name.endswith(".tmp"):
                    with contextlib.suppress(OSError):
                        os.unlink(os.path.join(folder, name))

    @staticmethod
    def _make(folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"workspace: cannot make {folder}: {error.strerror}") from None


class Fence:
    """Keeps a worker whose run has ended from writing: within it, `replacing` first looks who holds the lock.

    A worker on another machine may outlive a run that was killed, and would write while the next one does.

    Args:
        mark: what `Workspace.lock` gave; None checks nothing.
    """

    def __init__(self, mark: str | None) -> None:
        self.run, _, self.holder = (mark or "").partition(" ")

    def __enter__(self) -> "Fence":
        global _fence
        _fence = self if self.run else None
        return self

    def __exit__(self, *error: object) -> None:
        global _fence
        _fence = None

    def check(self) -> None:
        """Raises StageError if the run no longer holds the lock."""
        try:
            run = json.loads(Path(self.holder).read_text()).get("run")
        except (OSError, ValueError):
            run = None
        if run != self.run:
            raise StageError(f"{self.holder}: the run that this worker works for has ended; nothing is written")


_fence: Fence | None = None
_NOT_WRITABLE = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary name beside `path`; on success it is synced and renamed over `path`, else removed.

    Raises:
        WorkspaceError: the disk is full or the folder cannot be written, in one line.
        StageError: it cannot be written for another reason, or the run has ended (see Fence).
    """
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        if _fence is not None:
            _fence.check()
        os.replace(temporary, path)
    except OSError as error:
        kind = WorkspaceError if error.errno in _NOT_WRITABLE else StageError
        raise kind(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_table(path: Path, table: pa.Table, fingerprint: str = "", **notes: str) -> None:
    """Writes a Parquet file whole or not at all; `notes` go into its footer beside the fingerprint."""
    notes = {"fingerprint": fingerprint, ROWS: str(table.num_rows)} | notes
    metadata = {name.encode(): note.encode() for name, note in notes.items()}
    with replacing(path) as temporary:
        noted = table.replace_schema_metadata(metadata)
        with_dictionary = _with_dictionary(table.schema)
        pq.write_table(noted, temporary, compression="zstd", use_dictionary=with_dictionary, write_page_checksum=True)


def _with_dictionary(schema: pa.Schema) -> bool | list[str]:
    """Which columns are written as numbers into a list of their values, by Parquet's names: all but vectors.

    A vector's numbers hardly ever repeat: to look each of them up takes most of the time of writing and saves nothing.
    """
    vectors = {f"{field.name}.list.element" for field in schema if pa.types.is_fixed_size_list(field.type)}
    if not vectors:
        return True
    empty = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), empty)
    columns = pq.ParquetFile(empty.getvalue()).schema  # names of the leaves, where a column is nested
    return [path for path in (columns.column(i).path for i in range(len(columns))) if path not in vectors]


def read_table(path: Path, columns: list[str] | None = None, **options: Any) -> pa.Table:
    """Reads a Parquet file of the workspace, every page checked against its checksum.

    Raises:
        FileNotFoundError: there is none.
        StageError: it is damaged; the line names it.
    """
    try:
        return pq.read_table(path, columns=columns, page_checksum_verification=True, **options)
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException) as error:
        said = " ".join(str(error).split())[:120]
        raise StageError(f"{path} is damaged; delete it and run the stage that makes it again ({said})") from None


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def footer(path: Path) -> dict[str, str] | None:
    """The notes in a Parquet file's footer, `fingerprint` among them; None if it is absent, unreadable or not whole."""
    try:
        found = pq.read_metadata(path)
        notes = {k.decode(): v.decode() for k, v in (found.metadata or {}).items() if not k.startswith(b"ARROW")}
    except (OSError, pa.ArrowException, UnicodeDecodeError):
        return None
    return notes if notes.get(ROWS, str(found.num_rows)) == str(found.num_rows) else None


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any) -> str:
    """sha256 of the canonical JSON of a value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def table_digest(table: pa.Table, columns: list[str]) -> str:
    """sha256 over some columns of a table, in row order; the same rows give the same digest however chunked."""
    hasher = hashlib.sha256()
    for name in columns:
        column = table[name].combine_chunks()
        hasher.update(f"{name}:{len(column)};".encode())
        for value in column.to_pylist():
            data = b"\xff" if value is None else str(value).encode()
            hasher.update(len(data).to_bytes(4, "big") + data)
    return hasher.hexdigest()


def file_digest(path: Path) -> str:
    """sha256 of a file, remembered per process by path, size and time."""
    stat = path.stat()
    known = (str(path), stat.st_size, stat.st_mtime_ns)
    if known not in _file_digests:
        with open(path, "rb") as file:
            _file_digests[known] = hashlib.file_digest(file, "sha256").hexdigest()
    return _file_digests[known]


_file_digests: dict[tuple[str, int, int], str] = {}
