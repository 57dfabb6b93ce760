"""Databases, on SQLite and PostgreSQL, and a project in them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from annotation_ui.database.engine import Database
from annotation_ui.database.tables import metadata
from tests.databases import Cluster
from tests.queue_project import Project


@pytest.hookimpl(tryfirst=True)  # before the marks are looked at
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests on PostgreSQL as slow: `make quick` runs the same on SQLite."""
    for item in items:
        if "[postgresql" in item.nodeid or "-postgresql" in item.nodeid:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL server, whose database `votes` has the tables."""
    cluster = Cluster()
    try:
        cluster.execute("CREATE DATABASE votes")
        database = Database(cluster.url("votes"))
        metadata.create_all(database.engine)
        database.close()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def postgresql_url(cluster: Cluster) -> str:
    """The address of a PostgreSQL database with empty tables."""
    cluster.empty("votes", metadata.tables)
    return cluster.url("votes")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database with empty tables."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql_url"))
    url = f"sqlite:///{tmp_path / 'votes.db'}"
    database = Database(url)
    metadata.create_all(database.engine)
    database.close()
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database with empty tables."""
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database without tables."""
    if request.param == "postgresql":
        own: Cluster = request.getfixturevalue("cluster")
        return own.url(own.make())
    return f"sqlite:///{tmp_path / 'votes.db'}"


@pytest.fixture
def project(database: Database) -> Project:
    """An image on which three votes are asked, and six people."""
    return Project(database).fill()


@pytest.fixture
def empty(database: Database) -> Project:
    """A project that the test fills."""
    return Project(database)
