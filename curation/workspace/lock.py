"""Locks a workspace, so that one stage writes at a time."""

import contextlib
import json
import os
import socket
import uuid
from collections.abc import Iterator

import filelock

from curation.errors import StageError, UserError
from curation.workspace.files import replacing
from curation.workspace.folder import Workspace


@contextlib.contextmanager
def lock(workspace: Workspace, stage: str) -> Iterator[str]:
    """Holds the workspace's lock while a stage writes.

    Yields:
        The run's fencing token, by which its workers check that this run still holds the lock; see
        `curation.workspace.files.fenced`.

    Raises:
        StageError: another stage is writing; the message names it and its machine.
        UserError: the workspace cannot be created or written.
    """
    try:
        workspace.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make {workspace.root}: {error.strerror}", "workspace") from None
    holder = workspace.root / ".lock.json"
    file = filelock.FileLock(workspace.root / ".lock")
    try:
        file.acquire(timeout=0)
    except filelock.Timeout:
        who = "another process"
        with contextlib.suppress(OSError, ValueError, KeyError):
            note = json.loads(holder.read_text())
            who = f"curate {note['stage']} (process {note['pid']} on {note['host']})"
        raise StageError(f"{workspace.root} is in use by {who}; wait for it, or stop it") from None
    except OSError as error:
        raise UserError(f"cannot write {workspace.root}: {error.strerror}", "workspace") from None
    try:
        if holder.exists():  # the last run was killed
            sweep(workspace)
        run = uuid.uuid4().hex
        note = {"stage": stage, "pid": os.getpid(), "host": socket.gethostname(), "run": run}
        with replacing(holder) as temporary:
            temporary.write_text(json.dumps(note))
        yield f"{run} {holder}"
    finally:
        holder.unlink(missing_ok=True)
        file.release()


def sweep(workspace: Workspace) -> None:
    """Removes the temporary files that killed writers have left; the caller must hold the lock."""
    for folder, _folders, files in os.walk(workspace.root):
        for name in files:
            if name.startswith(".") and name.endswith(".tmp"):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(folder, name))
