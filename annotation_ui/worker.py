"""Runs, in processes of their own, what reads pictures and the workspace.

A native decoder that crashes on a picture takes no vote with it, and the server, which lives for weeks, stays small:
it imports neither OpenCV nor pyarrow.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from annotation_ui.previews import Previews
from curation.child_process import follow_parent

if TYPE_CHECKING:
    from annotation_ui.pictures import Pictures
    from curation.recipe import Recipe

T = TypeVar("T")
PICTURE_SECONDS = 60
"""Seconds that a picture may take before its process is given up."""


class Unavailable(Exception):
    """A picture cannot be shown; the message says why, in one line."""


class PictureWorker:
    """A process that makes pictures; one that dies is replaced. Thread-safe.

    Args:
        recipe: the recipe, whose corpora hold the images.
    """

    def __init__(self, recipe: "Recipe") -> None:
        self._recipe = recipe
        self._previews = previews_of(recipe)
        self._pool: ProcessPoolExecutor | None = None
        self._lock = threading.Lock()

    def jpeg(self, place: dict[str, Any], size: str) -> bytes:
        """Returns a picture as `Pictures.jpeg` does.

        Raises:
            Unavailable: for the reasons of `Pictures.jpeg`, and if the process dies of the picture.
        """
        if (kept := self._previews.find(place["sha256"], size)) is not None:
            return kept
        for attempt in range(2):  # a process may have died of another picture that was in it at the same time
            pool = self._started()
            try:
                # Submitting fails too, if the process has died since the last picture, as of a lack of memory.
                return pool.submit(_make_picture, place, size).result(PICTURE_SECONDS)
            except (BrokenProcessPool, CancelledError, TimeoutError) as error:
                self._give_up(pool)
                if attempt or isinstance(error, TimeoutError):
                    raise Unavailable("its decoder crashed or took more than a minute") from None
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Ends the process."""
        if self._pool is not None:
            self._give_up(self._pool)

    def _started(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = _pool(_open_pictures, self._recipe)
            return self._pool

    def _give_up(self, pool: ProcessPoolExecutor) -> None:
        with self._lock:
            if self._pool is pool:
                self._pool = None
        for process in list((pool._processes or {}).values()):  # one that hangs ends in no other way
            process.kill()
        pool.shutdown(wait=False, cancel_futures=True)


def previews_of(recipe: "Recipe") -> Previews:
    """Returns the kept pictures of a recipe's workspace."""
    return Previews(Path(recipe.workspace) / "annotation" / "previews", recipe.annotation.previews)


def run_aside(work: Callable[..., T], *arguments: Any) -> T:
    """Runs a function in a process of its own, and returns what it returned or raises what it raised."""
    with _pool(None) as pool:
        return pool.submit(work, *arguments).result()


def changes_in(root: Path, *others: str) -> tuple[Any, ...]:
    """Returns a state of the files that the queues are filled from; another state means that some changed.

    Args:
        root: the workspace.
        others: files outside of it.
    """
    folders = [root, root / "annotation", root / "caption_eval"]
    folders += [*_folders(root / "selection"), *_folders(root / "samples")]
    folders += _folders(root / "signals" / "safety")
    return *_stamps(folders), *(_stamp(path) for path in others)


def _stamp(path: str) -> tuple[str, int, int]:
    with contextlib.suppress(OSError):
        stat = os.stat(path)
        return path, stat.st_mtime_ns, stat.st_size
    return path, 0, 0


def _folders(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return sorted(Path(entry.path) for entry in os.scandir(folder) if entry.is_dir())
    return []


def _stamps(folders: list[Path]) -> Iterator[tuple[str, int, int]]:
    for folder in folders:
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name.endswith(".parquet"):
                    stat = entry.stat()
                    yield entry.path, stat.st_mtime_ns, stat.st_size


def _pool(initializer: Callable[..., None] | None, *arguments: Any) -> ProcessPoolExecutor:
    """Makes a pool of one process, which is spawned: a fork would share the server's threads and connections."""
    return ProcessPoolExecutor(1, get_context("spawn"), _begin, (initializer, *arguments))


def _begin(initializer: Callable[..., None] | None, *arguments: Any) -> None:
    follow_parent()
    if initializer is not None:
        initializer(*arguments)


_pictures: "Pictures | None" = None
"""The pictures that this process makes, if it is a picture worker."""


def _open_pictures(recipe: "Recipe") -> None:
    global _pictures
    from annotation_ui.pictures import Pictures

    _pictures = Pictures(recipe, previews_of(recipe))


def _make_picture(place: dict[str, Any], size: str) -> bytes:
    assert _pictures is not None
    return _pictures.jpeg(place, size)
