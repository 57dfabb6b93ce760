"""Copies the SQLite database while the server writes, by SQLite's own means: https://www.sqlite.org/backup.html."""

import contextlib
import os
import sqlite3
from pathlib import Path

from sqlalchemy.engine import make_url

from annotation_ui.database.engine import BUSY_SECONDS
from annotation_ui.settings import database_url
from curation.errors import StageError, UserError, in_one_line
from curation.recipe import Recipe
from curation.workspace.files import replacing

PAGES = 4096
"""Number of pages of the database that are copied at once; the server writes between."""


def back_up(recipe: Recipe, file: Path) -> int:
    """Copies the recipe's database into a file; returns its size in bytes.

    The copy holds every vote that was acknowledged before it began. It is checked and synced, and stands under its name
    only then.

    Raises:
        UserError: the file exists, the database is PostgreSQL, or there is no database.
        StageError: the database cannot be read, the copy cannot be written, or it is damaged.
    """
    if os.path.lexists(file):
        raise UserError(f"{file}: it is there already; name a file that is not")
    source = _sqlite_file(recipe)
    if not source.is_file():
        raise UserError(f"{source}: there is no database yet; begin with `curate annotate serve RECIPE`")
    with replacing(file) as temporary:
        try:
            _copy(source, temporary)
        except sqlite3.Error as error:
            raise StageError(f"{source}: cannot be copied to {file}: {in_one_line(error, 120)}") from None
        if os.path.lexists(file):
            raise UserError(f"{file}: it has appeared meanwhile; name a file that is not there")
    _sync(file.parent)
    return file.stat().st_size


def _sqlite_file(recipe: Recipe) -> Path:
    url = make_url(database_url(recipe))
    if url.get_backend_name() != "sqlite":
        name = url.database or "NAME"
        raise UserError(f"the votes are on PostgreSQL; back them up by `pg_dump --format=custom --file=FILE {name}`")
    return Path(url.database or "")


def _copy(source: Path, copy: Path) -> None:
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(contextlib.closing(sqlite3.connect(source, timeout=BUSY_SECONDS)))
        copied = stack.enter_context(contextlib.closing(sqlite3.connect(copy)))
        # One transaction, so that no write of the server makes SQLite begin the copy anew.
        database.execute("BEGIN")
        database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        database.backup(copied, pages=PAGES, sleep=0.001)
        copied.execute("PRAGMA journal_mode=DELETE")  # so that the copy is one file
        if (found := copied.execute("PRAGMA integrity_check").fetchone()) != ("ok",):
            raise StageError(f"{source}: the copy of it is damaged: {found[0]}")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
