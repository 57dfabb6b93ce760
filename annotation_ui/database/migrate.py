"""Brings a database to the current version of the tables."""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from annotation_ui.database.engine import Database
from curation.errors import UserError

CURRENT = "0001"
"""The newest revision in migrations/versions."""
FOLDER = Path(__file__).parent / "migrations"


def migrate(database: Database) -> None:
    """Makes the tables, or changes those of an earlier version; a database of the current version is left alone.

    Raises:
        UserError: the database was made by a later version of curate.
        StorageFailed: it cannot be reached or written.
    """
    version = _version(database)
    if version == CURRENT:
        return
    from alembic import command  # takes a tenth of a second and 12 MB, which a server does not need twice
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(FOLDER))

    def upgrade(connection: Connection) -> None:
        if not database.is_sqlite:  # of several servers that start at once, one makes the tables
            connection.execute(text("select pg_advisory_xact_lock(20240707)"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    try:
        database.write(upgrade)
    except CommandError:
        detail = f"its tables are of version {version}, which this curate does not know; update curate"
        raise UserError(detail, "annotation.database") from None


def _version(database: Database) -> str | None:
    """Returns the version of the tables; None if there are none."""

    def find(connection: Connection) -> str | None:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(text("select version_num from alembic_version")).scalar_one_or_none()

    return database.read(find)
