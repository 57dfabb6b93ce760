"""Lets a process that another one has started end with it, and leave Ctrl-C to it."""

import multiprocessing
import os
import signal
import threading
from multiprocessing import connection


def follow_parent() -> None:
    """Lets this process end as soon as its parent has ended, however that came, and ignore Ctrl-C until then."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    """Ends this process when the parent's sentinel becomes ready, which is when the parent has ended."""
    connection.wait([sentinel])
    os._exit(1)
