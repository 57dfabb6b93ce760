"""Fixtures that the tests of hostile input share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile import Sandbox


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """A process of its own, for what native decoders are fed."""
    box = Sandbox()
    yield box
    if box.pool:
        box.pool.shutdown()


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for a raw corpus."""
    folder = tmp_path_factory.mktemp("containers") / "raw"
    folder.mkdir()
    return folder
