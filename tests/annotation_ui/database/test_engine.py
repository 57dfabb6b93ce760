"""Transactions: tried again when others were in the way, and nothing half done when the storage fails."""

import resource
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, insert, select, text
from sqlalchemy.exc import IntegrityError, OperationalError

from annotation_ui.database.engine import Database, StorageFailed
from annotation_ui.database.tables import audit, metadata
from curation.errors import UserError

ROOT = Path(__file__).parents[3]


def note(connection: Connection, action: str = "x") -> None:
    connection.execute(insert(audit), {"at": 0, "action": action})


def noted(database: Database) -> list[str]:
    return list(database.read(lambda c: c.execute(select(audit.c.action).order_by(audit.c.id)).scalars().all()))


@pytest.mark.parametrize("url", ["votes.db", "mysql://host/votes", "sqlite://", "sqlite:///:memory:", "://", ""])
def test_an_address_that_is_none_is_told(url: str) -> None:
    with pytest.raises(UserError, match="annotation.database") as told:
        Database(url)
    assert "\n" not in str(told.value)


def test_work_is_committed_and_its_result_returned(database: Database, database_url: str) -> None:
    assert database.write(lambda c: (note(c), 7)[1]) == 7
    other = Database(database_url)
    assert noted(other) == ["x"]
    other.close()


def test_work_that_raises_leaves_nothing(database: Database) -> None:
    def work(connection: Connection) -> None:
        note(connection)
        raise KeyError("mine")

    with pytest.raises(KeyError):
        database.write(work)
    assert noted(database) == []
    database.write(note)
    assert noted(database) == ["x"]


def test_work_that_another_transaction_spoilt_is_run_again(postgresql_url: str) -> None:
    database, tries = Database(postgresql_url), []  # on SQLite nobody else writes meanwhile

    def work(connection: Connection) -> None:
        tries.append(1)
        note(connection)
        if len(tries) < 3:
            raise IntegrityError("insert", {}, Exception("the row is there"))

    database.write(work)
    assert len(tries) == 3 and noted(database) == ["x"]
    database.close()


def test_an_error_that_stays_is_raised_in_the_end(database: Database) -> None:
    def work(connection: Connection) -> None:
        connection.execute(insert(audit), {"at": None, "action": "x"})

    with pytest.raises(IntegrityError):
        database.write(work)


def test_every_operation_may_fail_and_nothing_is_half_done(database: Database) -> None:
    """Fails the first, second, … statement and at last none, as SQLite's own tests do."""
    left = 0

    def fail(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise OperationalError("statement", {}, Exception("made to fail"))

    def work(connection: Connection) -> None:
        for action in "abc":
            note(connection, action)

    event.listen(database.engine, "before_cursor_execute", fail)
    statements = 4 if database.is_sqlite else 3  # one more that begins
    for nth in range(1, statements + 1):
        left = nth
        with pytest.raises(StorageFailed):
            database.write(work)
        left = 0
        assert noted(database) == []
    database.write(work)
    assert noted(database) == ["a", "b", "c"]


def test_a_reader_sees_one_state_throughout(database: Database) -> None:
    with database.reading() as connection:
        count = text("select count(*) from audit")
        assert connection.execute(count).scalar_one() == 0
        database.write(note)
        assert connection.execute(count).scalar_one() == 0
    assert noted(database) == ["x"]


def test_threads_that_write_wait_for_each_other(database: Database, database_url: str) -> None:
    other = Database(database_url)  # as a second process has it
    errors: list[Exception] = []

    def run(one: Database) -> None:
        try:
            for _ in range(25):
                one.write(note)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(one,)) for one in (database, other) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert errors == [] and len(noted(database)) == 200


def test_sqlite_syncs_every_commit_on_every_connection(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'votes.db'}")

    def settings(connection: Connection) -> list[int | str]:
        names = ("synchronous", "journal_mode", "foreign_keys")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names]

    with database.engine.connect() as third:
        for seen in (database.write(settings), database.read(settings), settings(third)):
            assert seen == [2, "wal", 1]  # 2 is FULL
    database.close()


def test_postgresql_that_ends_a_connection_is_told_and_works_again(postgresql_url: str) -> None:
    database = Database(postgresql_url)

    def work(connection: Connection) -> None:
        note(connection)
        connection.execute(text("select pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(StorageFailed, match="cannot be reached"):
        database.write(work)
    assert noted(database) == []
    database.write(note)
    assert noted(database) == ["x"]
    database.close()


def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    database = Database(f"postgresql://nobody@/votes?host={tmp_path}")
    with pytest.raises(StorageFailed, match="cannot be reached") as told:
        database.write(note)
    assert "\n" not in str(told.value)


def test_a_full_disk_is_told_and_nothing_is_half_stored(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'votes.db'}")
    metadata.create_all(database.engine)
    database.write(note)
    with database.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()

    def limit(connection: Any, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count={pages + limited}")

    limited = 2
    event.listen(database.engine, "checkout", limit)

    def much(connection: Connection) -> None:
        for _ in range(50):
            note(connection, "y" * 40 + "x")
            connection.execute(insert(audit), {"at": 0, "action": "big", "detail": "z" * 4000})

    with pytest.raises(StorageFailed, match="cannot be written: database or disk is full"):
        database.write(much)
    assert noted(database) == ["x"]
    limited = 10_000  # somebody has made room
    database.write(much)
    assert len(noted(database)) == 101
    database.close()


@pytest.mark.parametrize(
    "content", [b"no database at all" * 300, b"SQLite format 3\0" + b"\x10\0\x02\x02" + b"\xff" * 5000]
)
def test_a_file_that_is_damaged_is_named_in_one_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "votes.db"
    file.write_bytes(content)
    database = Database(f"sqlite:///{file}")
    for work in (database.write, database.read):
        with pytest.raises(StorageFailed, match=f"^{file}: is damaged; put the last backup in its place") as told:
            work(lambda c: c.execute(select(audit)).all())
        assert "\n" not in str(told.value)
    database.close()


def test_work_that_was_given_up_stops_nothing(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'votes.db'}")
    metadata.create_all(database.engine)
    began, goes_on = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        began.set()
        goes_on.wait(10)

    writer = database._writer
    assert writer is not None
    first = writer.submit(slow)
    assert began.wait(10)
    given_up, after = writer.submit(lambda c: note(c, "no")), writer.submit(note)
    assert given_up.cancel() and not first.cancel()
    goes_on.set()
    after.result(10)
    assert first.result(10) is None and noted(database) == ["x"]
    database.close()


_LIMITED = """
import resource, signal, sys
from sqlalchemy import insert, select
from annotation_ui.database.engine import Database, StorageFailed
from annotation_ui.database.tables import audit
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
database = Database(sys.argv[1])
row = {"at": 0, "action": "x", "detail": "z" * 4000}
add = lambda: database.write(lambda c: c.execute(insert(audit), row))
count = lambda: len(database.read(lambda c: c.execute(select(audit.c.id)).all()))
add()
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, most))
stored = 1
while stored < 1000:
    try:
        add()
    except StorageFailed as failed:
        assert "cannot be written" in str(failed) and "\\n" not in str(failed), failed
        break
    stored += 1
assert 1 < stored < 1000 and count() == stored, (stored, count())
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
add()
assert count() == stored + 1
"""


def test_a_write_that_the_system_refuses_half_way_is_told_and_works_again(tmp_path: Path) -> None:
    """The system stops the log of a SQLite file from growing: a write ends in the middle, as on a full disk."""
    url = f"sqlite:///{tmp_path / 'votes.db'}"
    database = Database(url)
    metadata.create_all(database.engine)
    database.close()
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] in (resource.RLIM_INFINITY, -1)
    command = [sys.executable, "-c", _LIMITED, url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    again = Database(url)
    assert again.read(lambda c: c.exec_driver_sql("PRAGMA integrity_check").scalar_one()) == "ok"
    again.close()
