"""Folders that cannot be written."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A folder that this process cannot write to: as root, after giving root's rights up for the while."""
    folder = Path(tempfile.mkdtemp(prefix="read-only-"))
    folder.chmod(0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if user == 0:
            os.seteuid(0)
        folder.chmod(0o755)
        shutil.rmtree(folder)
