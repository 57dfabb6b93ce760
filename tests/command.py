"""Runs the command `curate` for tests: in this process, which saves a second, or as a process of its own."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from curation import cli
from curation.cli import terminal

ROOT = Path(__file__).parents[1]
CURATE = [sys.executable, "-c", "from curation.cli import main; main()"]
Done = subprocess.CompletedProcess[str]

# They write to whatever stdout and stderr are at the time. So a library that is first imported during a call, and has
# its log write to the stderr that it finds, goes on doing so after the call, and into the captured text of the next.
_STREAMS = {
    name: open(number, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    for name, number in (("stdout", 1), ("stderr", 2))
}


def environment(**changed: str) -> dict[str, str]:
    """Returns the environment of a process that is to import this curate, with some variables changed."""
    return os.environ | {"PYTHONPATH": str(ROOT)} | changed


def curate(*arguments: str, cwd: Path, status: int | None = 0) -> Done:
    """Calls `curate` in this process as if from a shell in `cwd`; its workers are processes as always.

    Its changes to the process are undone. Output of native code and of workers, which bypasses Python, is captured too.

    Args:
        arguments: the arguments of the command.
        cwd: the working directory.
        status: the exit status that is expected; None accepts any.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    variables = dict(os.environ)
    code = None
    with pytest.MonkeyPatch.context() as patch, _captured("stdout") as out, _captured("stderr") as err:
        patch.chdir(cwd)
        patch.setattr(sys, "argv", ["curate", *arguments])
        patch.setattr(terminal, "_recipe_file", None)
        patch.setattr(sys, "excepthook", sys.excepthook)
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            os.environ.clear()
            os.environ.update(variables)
    assert isinstance(code, int), f"main() ended with {code!r}, which is no exit status"
    return _expected(Done(["curate", *arguments], code, _text(out), _text(err)), status)


def process(*arguments: str, cwd: Path, status: int | None = 0, **changed: str) -> Done:
    """Runs `curate` as a process of its own; see `curate` for the rest.

    Args:
        changed: environment variables.
    """
    call = [*CURATE, *arguments]
    done = subprocess.run(call, cwd=cwd, env=environment(**changed), capture_output=True, text=True, timeout=600)
    return _expected(done, status)


def started(
    *arguments: str, cwd: Path, variables: dict[str, str] | None = None, **options: Any
) -> "subprocess.Popen[str]":
    """Starts `curate` as a process of its own and does not wait for it; `options` are those of Popen."""
    call = [*CURATE, *arguments]
    return subprocess.Popen(call, cwd=cwd, env=environment(**(variables or {})), text=True, **options)


@contextlib.contextmanager
def _captured(name: str) -> Iterator[IO[bytes]]:
    """Sends what this process or its children write to stdout or stderr into a file, which it yields."""
    stream, file = _STREAMS[name], tempfile.TemporaryFile()  # noqa: SIM115
    before, former = os.dup(stream.fileno()), getattr(sys, name)
    former.flush()
    os.dup2(file.fileno(), stream.fileno())
    setattr(sys, name, stream)
    try:
        yield file
    finally:
        stream.flush()
        setattr(sys, name, former)
        os.dup2(before, stream.fileno())
        os.close(before)


def _text(file: IO[bytes]) -> str:
    with file:
        file.seek(0)
        return file.read().decode()


def _expected(done: Done, status: int | None) -> Done:
    assert "Traceback" not in done.stderr, done.stderr
    assert status in (None, done.returncode), done.stdout + done.stderr
    return done
