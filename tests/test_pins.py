"""The pinned dependencies: each is one version, and the very files of it that were pinned."""

import re

import pytest

from tests.command import ROOT


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-paddle.txt"])
def test_every_dependency_is_pinned_with_the_hashes_of_its_files_and_no_address(name: str) -> None:
    pins = (ROOT / name).read_text(encoding="utf-8").replace(" \\\n", " ").splitlines()
    assert len(pins) > 100
    for pin in pins:
        assert re.fullmatch(r"[\w.-]+==[\w.+!]+( ; [^@]+?)?( +--hash=sha256:[0-9a-f]{64})+", pin), pin[:100]


def test_make_installs_by_the_hashes_and_writes_them() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    installs = [line for line in makefile.splitlines() if "pip install" in line and "-r requirements" in line]
    assert len(installs) == 2 and all("--require-hashes" in line for line in installs)
    assert "--generate-hashes" in makefile
