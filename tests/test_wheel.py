"""The wheel: it holds all that runs, and works where the repository is not."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from curation.cli.app import ORDER
from tests.command import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds the wheel and unpacks it as an installer would; returns the folder."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a copy: what an earlier build has left beside the repository must not get in
    for name in ("curation", "pipelines", "annotation_ui"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "uv", "build", "--wheel", "--quiet", "--out-dir", str(folder), str(source)]
    subprocess.run(build, check=True, capture_output=True, text=True)
    (file,) = folder.glob("curate-*.whl")
    with zipfile.ZipFile(file) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(wheel: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `curate` from the wheel, in a folder elsewhere; its dependencies are the installed ones."""
    environment = os.environ | {"PYTHONPATH": str(wheel)}
    call = [sys.executable, "-P", "-c", "from curation.cli import main; main()", *arguments]
    return subprocess.run(call, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False)


def test_every_file_is_in_it_and_no_other(wheel: Path) -> None:
    def files(root: Path) -> set[str]:
        paths = (
            p for top in ("curation", "pipelines", "annotation_ui") for p in (root / top).rglob("*") if p.is_file()
        )
        return {str(p.relative_to(root)) for p in paths if "__pycache__" not in p.parts}

    assert files(wheel) == files(ROOT)


def test_the_demo_runs_without_the_repository(wheel: Path, tmp_path: Path) -> None:
    done = run(wheel, tmp_path, "demo", "--json")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "demo/work/shards/concept/README.md").exists()
    where = run(wheel, tmp_path, "query", "demo/demo.yaml", "select count(*) as n from images where kept", "--json")
    assert '"n": 38' in where.stdout, where.stdout + where.stderr


@pytest.mark.parametrize("verb", ORDER)
def test_help_of_every_verb(wheel: Path, tmp_path: Path, verb: str) -> None:
    done = run(wheel, tmp_path, verb, "--help")
    assert done.returncode == 0 and done.stdout.startswith(f"Usage: curate {verb} "), done.stderr


def test_a_missing_extra_is_named_in_one_line(wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for model in ("det", "rec"):
        (tmp_path / model).mkdir()
        for file in ("inference.yml", "inference.onnx"):
            (tmp_path / model / file).write_text("{}")
    (tmp_path / "recipe.yaml").write_text(
        "workspace: ./work\ncorpora: [{name: c, path: ./empty, format: folder}]\nmodels: .\n"
        "signals: {ocr: {backend: paddleocr, engine: onnxruntime, detection: det, recognition: rec}}\n"
    )
    done = run(wheel, tmp_path, "doctor", "recipe.yaml")
    (line,) = [line for line in done.stdout.splitlines() if "paddleocr is not installed here" in line]
    assert done.returncode == 1 and ".[paddle]" in line, done.stdout + done.stderr
