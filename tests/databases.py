"""Databases for tests: files of SQLite, and a PostgreSQL server of the tests' own.

The server is Debian's `postgresql`, started in a temporary folder on a Unix socket, with no port that anybody could see.
It refuses to run as root, who runs it as the user `postgres` then.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psycopg
import pytest

NEEDED = "needs Debian's package postgresql"


class Cluster:
    """A PostgreSQL server that syncs to the disk, as a real one does.

    Raises:
        pytest.skip.Exception: there is no PostgreSQL here.
    """

    def __init__(self) -> None:
        programs = _programs()
        self._made = 0
        self.folder = Path(tempfile.mkdtemp(prefix="curate-pg-"))
        self._as_user = _as_user(self.folder)
        self._run(programs / "initdb", "--no-sync", "-D", self.folder / "data", "-U", "curate", "-A", "trust")
        options = {"listen_addresses": "", "unix_socket_directories": self.folder, "max_connections": 120}
        options |= {"fsync": "on", "synchronous_commit": "on", "shared_buffers": "32MB", "deadlock_timeout": "100ms"}
        self._log = open(self.folder / "log", "wb")  # noqa: SIM115
        command = [programs / "postgres", "-D", self.folder / "data"]
        command += [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        self._server = subprocess.Popen(command, stdout=self._log, stderr=self._log, **self._as_user)
        self._wait()

    def url(self, name: str) -> str:
        """Returns the address of a database, as SQLAlchemy has it."""
        return f"postgresql://curate@/{name}?host={self.folder}"

    def make(self) -> str:
        """Makes a database without tables, and returns its name."""
        self._made += 1
        self.execute(f"CREATE DATABASE made{self._made}")
        return f"made{self._made}"

    def empty(self, name: str, tables: Iterable[str]) -> None:
        """Ends what is still connected to a database, and empties tables in it; their rows are numbered from 1 on."""
        self.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        self.execute(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY CASCADE", name)

    def execute(self, statement: str, name: str = "postgres") -> None:
        """Runs a statement in a database."""
        with psycopg.connect(host=str(self.folder), dbname=name, user="curate", autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    def log(self) -> str:
        """Returns what the server has said so far."""
        return (self.folder / "log").read_text()

    def stop(self) -> None:
        """Stops the server and removes its folder."""
        self._server.send_signal(signal.SIGQUIT)  # at once: nothing that it has still to write is needed any more
        self._server.wait(30)
        self._log.close()
        shutil.rmtree(self.folder)

    def _run(self, *command: Any) -> None:
        done = subprocess.run(command, capture_output=True, text=True, **self._as_user)
        assert done.returncode == 0, done.stderr

    def _wait(self) -> None:
        until = time.monotonic() + 30
        while True:
            try:
                return self.execute("SELECT 1")
            except psycopg.OperationalError:
                assert self._server.poll() is None and time.monotonic() < until, self.log()
                time.sleep(0.05)


def _programs() -> Path:
    """Returns the folder of PostgreSQL's programs; Debian keeps them out of PATH."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not versions:
        pytest.skip(NEEDED)
    return versions[-1].parent


def _as_user(folder: Path) -> dict[str, Any]:
    """Returns the options by which a process runs as a user other than root, who then owns the folder."""
    options: dict[str, Any] = {"cwd": folder, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}}
    if os.getuid() != 0:
        return options
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        user = pwd.getpwnam("nobody")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return options | {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
