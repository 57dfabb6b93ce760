"""Export of 3,000,000 votes on 1,000,000 images from SQLite to Parquet, and the levels that follow from them."""

import argparse
import contextlib
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from annotation_ui.database.engine import Database
from annotation_ui.database.migrate import migrate
from annotation_ui.transfer.votes import write_votes
from curation.annotation.levels import decide_levels
from curation.workspace import Workspace
from tests.benchmarks.report import Figure, peak_mb, show

ANNOTATORS, AT_ONCE = 50, 100_000
START = 1_800_000_000_000


def main() -> None:
    """Prints the table. The floor reads the same columns with sqlite3 and writes them with pyarrow, in no order."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1_000_000)
    images = parser.parse_args().images
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "votes.sqlite"
        with contextlib.closing(Database(f"sqlite:///{file}")) as database:
            migrate(database)
            _fill(file, images)
            floor = _cpu(lambda: _floor(file, folder / "floor.parquet"))
            workspace = Workspace(folder / "work")
            before = peak_mb()
            began = time.monotonic()
            first = _cpu(lambda: _export(database, workspace))
            wall, peak = time.monotonic() - began, peak_mb()
            again = _cpu(lambda: _export(database, workspace))
            beside = peak_mb()
            levels = _cpu(lambda: decide_levels(workspace, 3))
    votes = f"{3 * images:,} votes on {images:,} images"
    show(
        [
            Figure(f"export of {votes}, CPU", first, "s", floor, 30 * images / 1e6),
            Figure("the same, wall", wall, "s", floor, 30 * images / 1e6),
            Figure("the same, memory beyond that of the floor", peak - before, "MB"),
            Figure("export again, with all of them on file, CPU", again, "s", floor, 30 * images / 1e6),
            Figure("the same, memory beyond that of the floor", beside - before, "MB"),
            Figure(f"levels of {images:,} images, from file to file, CPU", levels, "s", None, 2 * images / 1e6),
        ]
    )


def _cpu(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _export(database: Database, workspace: Workspace) -> None:
    with database.reading() as connection:
        write_votes(connection, workspace, 1)


def _floor(file: Path, parquet: Path) -> None:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        cursor = connection.execute(
            "select i.key, v.person_id, v.level, v.round, v.at, v.revision, v.shown_ms, v.decided_ms, v.hidden_ms,"
            " v.device from votes v join items i on i.id = v.item_id"
        )
        names = [f"column{number}" for number in range(10)]
        writer = None
        while rows := cursor.fetchmany(AT_ONCE):
            table = pa.table(list(map(pa.array, zip(*rows, strict=True))), names=names)
            writer = writer or pq.ParquetWriter(parquet, table.schema, compression="zstd")
            writer.write_table(table)
        if writer is not None:
            writer.close()


def _fill(file: Path, images: int) -> None:
    """Fills the tables as the tool would have, a hundred thousand images at a time; keys come in no order."""
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("pragma synchronous=off")
        connection.execute("insert into projects (id, task, asked, paused, created_at) values (1, 'levels', 3, 0, 0)")
        people = [(n, f"annotator-{n}", "annotator", 0, "{}") for n in range(1, ANNOTATORS + 1)]
        connection.executemany(
            "insert into people (id, name, role, created_at, preferences) values (?, ?, ?, ?, ?)", people
        )
        for start in range(0, images, AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, images))
            connection.executemany(
                "insert into items (id, project_id, key, asked, taken, voted, status, shuffle)"
                " values (?, 1, ?, 3, 3, 3, 'decided', ?)",
                ((n + 1, _key(n * 7919 % images), n % 2**31) for n in numbers),
            )
            connection.executemany(
                "insert into slots (item_id, person_id, slot, asked, state, lease, changed_at, level)"
                " values (?, ?, ?, 3, 'voted', '', ?, ?)",
                ((item, person, slot, at, level) for item, person, slot, level, at in _votes(numbers)),
            )
            connection.executemany(
                "insert into votes (item_id, person_id, revision, level, at, shown_ms, decided_ms, hidden_ms, device,"
                " request) values (?, ?, 1, ?, ?, 1800, 1500, 0, 'keyboard', ?)",
                ((item, person, level, at, f"{item}-{person}") for item, person, _, level, at in _votes(numbers)),
            )
            connection.commit()


def _key(number: int) -> str:
    return f"web/{number // 10_000:05d}/{number:09d}"


def _votes(numbers: range) -> Iterator[tuple[int, int, int, int, int]]:
    """Yields item, person, slot, level and time of three votes on each image."""
    for n in numbers:
        for slot in range(1, 4):
            mixed = (n * 3 + slot) * 2654435761 % 2**32
            yield n + 1, (n + slot * 7) % ANNOTATORS + 1, slot, mixed % 5 + 1, START + n * 3 + slot


if __name__ == "__main__":
    main()
