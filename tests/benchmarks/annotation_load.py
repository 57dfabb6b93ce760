"""Annotators voting over HTTP, with sign-in: cycles of claim and vote, beside Label Studio and beside bare commits.

16 clients, 2,000 images, three votes each, on SQLite; then 300,000 images in the queue; then a server that is killed
under load while clients try again. Figures of Label Studio 1.23, same load and two shared cores: 8 cycles/s, p95 of a
cycle 3 to 9 s, 51 to 94 ms CPU for a cycle, 3 to 12 % surplus votes.

The floor of a cycle's time is two commits of SQLite with `synchronous=FULL`, one after the other.
"""

import argparse
import sqlite3
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from sqlalchemy import text

from tests.annotators import Annotator, Server, Tally, add_items, all_vote, database_of, invited, serving, tally
from tests.benchmarks.report import Figure, show

CLIENTS, IMAGES, QUEUE = 16, 2_000, 300_000
RECIPE = "workspace: ./work\ncorpora: [{name: made, path: ./raw}]\n"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.annotation_load", description=__doc__)
    parser.add_argument("--database", default="", help="postgresql://…, which is emptied; default: SQLite")
    database = parser.parse_args().database
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        floor = _two_commits(folder / "floor.sqlite")
        first = _load(folder / "small", IMAGES, None, floor, database)
        if not database:
            _load(folder / "large", QUEUE, 15, floor, database, beside=first)
        _killed(folder / "killed", database)


def _load(
    folder: Path, images: int, seconds: float | None, floor: float, database: str, beside: float | None = None
) -> float:
    """Lets the clients vote, prints the figures, and returns the cycles per second."""
    recipe_file, annotators = _made(folder, images, database)
    with serving(recipe_file) as server:
        for annotator in annotators:
            annotator.port = server.port
        stop = threading.Event()
        if seconds is not None:
            threading.Timer(seconds, stop.set).start()
        cpu, peak = server.cpu_seconds(), server.rss()
        taken = all_vote(annotators, stop)
        cpu, peak = server.cpu_seconds() - cpu, max(peak, server.rss())
    cycles = np.array([cycle for annotator in annotators for cycle in annotator.cycles])
    rate, what = len(cycles) / taken, f"{images:,} images: "
    show(
        [
            Figure(f"{what}cycles per second", rate, "1/s", 1 / floor, 0.8 * beside if beside else 200, True),
            Figure(f"{what}p50 of a cycle", 1000 * float(np.percentile(cycles, 50)), "ms", 1000 * floor),
            Figure(f"{what}p95 of a cycle", 1000 * float(np.percentile(cycles, 95)), "ms", 1000 * floor, 100),
            Figure(f"{what}server's CPU of a cycle", 1000 * cpu / len(cycles), "ms", None, 4),
            Figure(f"{what}RSS of the server's processes", peak / 1e6, "MB", None, 150),
            Figure(f"{what}start", server.start_seconds, "s", None, 3),
        ]
    )
    _tell(what, tally(database_of(recipe_file), annotators), images if seconds is None else None)
    return rate


def _killed(folder: Path, database: str) -> None:
    """Kills the server again and again while clients vote and repeat what was not answered."""
    recipe_file, annotators = _made(folder, 600, database)
    server = Server(recipe_file).start()
    for annotator in annotators:
        annotator.port, annotator.repeat = server.port, 0.1
    voting = threading.Thread(target=all_vote, args=(annotators,))
    voting.start()
    kills = 0
    while voting.is_alive():
        voting.join(1.5)
        if voting.is_alive():
            server.kill()
            server.start()
            kills += 1
    server.stop()
    _tell(f"killed {kills} times: ", tally(database_of(recipe_file), annotators), 600)


def _made(folder: Path, images: int, database: str) -> tuple[Path, list[Annotator]]:
    (folder / "raw").mkdir(parents=True)
    recipe_file = folder / "recipe.yaml"
    recipe_file.write_text(RECIPE + (f'annotation: {{database: "{database}"}}\n' if database else ""))
    if database:
        own = database_of(recipe_file)
        own.write(lambda c: c.execute(text("drop schema public cascade; create schema public")) and None)
        own.close()
    add_items(recipe_file, images)
    return recipe_file, [Annotator(0, token, seed) for seed, token in enumerate(invited(recipe_file, CLIENTS))]


def _tell(what: str, found: Tally, images: int | None) -> None:
    counts = (
        f"attempted {found.attempted:,}, acknowledged {found.acknowledged:,}, lost {found.lost}, unexpected "
        f"{found.unexpected}, duplicated {found.duplicated}, recovered {found.recovered}"
    )
    complete = "" if images is None else f"; {found.complete:,} of {images:,} images have exactly their votes"
    print(f"{what}{counts}{complete}", flush=True)
    assert found.right and images in (None, found.complete)


def _two_commits(file: Path) -> float:
    """Returns the seconds of two commits of one row each, one after the other."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("create table t (x integer)")
    began = time.perf_counter()
    for number in range(400):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("insert into t values (?)", (number,))
        connection.execute("COMMIT")
    connection.close()
    return (time.perf_counter() - began) / 200


if __name__ == "__main__":
    main()
