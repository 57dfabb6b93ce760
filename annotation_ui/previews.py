"""Keeps resized pictures in the workspace, so that each is made once.

Nothing of a request ever becomes a path: a file is named by the image's SHA-256 and the size.
"""

import contextlib
import os
import threading
from pathlib import Path

from curation.errors import StageError

SIZES = ("thumbnail", "preview")
"""The sizes that are kept; others are made each time."""


class Previews:
    """The folder of kept pictures; may be used by several threads and processes.

    Args:
        folder: the folder, which need not be there.
        limit: bytes that the pictures may take; beyond that, those made first are removed.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self._lock = threading.Lock()
        self._size: int | None = None  # bytes of all kept pictures; None until they are counted

    def find(self, sha256: str, size: str) -> bytes | None:
        """Returns the kept picture of an image; None if there is none."""
        if size in SIZES:
            with contextlib.suppress(OSError):
                return self._path(sha256, size).read_bytes()
        return None

    def keep(self, sha256: str, size: str, jpeg: bytes) -> None:
        """Keeps a picture; one that cannot be kept, as on a full disk, is made again when it is asked for."""
        from curation.workspace.files import replacing  # imports pyarrow, which the server does without

        if size not in SIZES:
            return
        with contextlib.suppress(StageError, OSError):
            with replacing(self._path(sha256, size)) as temporary:
                temporary.write_bytes(jpeg)
            with self._lock:
                self._size = self._counted() if self._size is None else self._size + len(jpeg)
                if self._size > self._limit:
                    self._size = self._make_room()

    def _path(self, sha256: str, size: str) -> Path:
        return self._folder / size / sha256[:2] / f"{sha256}.jpg"

    def _counted(self) -> int:
        return sum(size for _, size, _ in self._files())

    def _make_room(self) -> int:
        """Removes the oldest pictures until three quarters of the limit are left; returns the bytes that stay."""
        files = sorted(self._files())
        size = sum(size for _, size, _ in files)
        for _, own, path in files:
            if size <= self._limit * 3 // 4:
                break
            with contextlib.suppress(OSError):
                os.unlink(path)
            size -= own
        return size

    def _files(self) -> list[tuple[float, int, str]]:
        """Returns the time, size and path of every kept picture."""
        found = []
        for folder, _, names in os.walk(self._folder):
            for name in names:
                with contextlib.suppress(OSError):
                    path = os.path.join(folder, name)
                    stat = os.stat(path)
                    found.append((stat.st_mtime, stat.st_size, path))
        return found
