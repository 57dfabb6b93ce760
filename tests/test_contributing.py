"""Performs what CONTRIBUTING.md shows: writes its files into plug-in folders, and runs its recipe."""

import io
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from curation.recipe.yaml_text import read_yaml
from tests import bench
from tests.command import process

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"<!-- performed: (\w+\.py) -->\n```python\n(.*?)```", TEXT, re.DOTALL))
RECIPES = [read_yaml(text) for text in re.findall(r"<!-- recipe -->\n```yaml\n(.*?)```", TEXT, re.DOTALL)]
FOLDERS = {"saturation.py": "signals", "alt_text.py": "captions", "memory.py": "captions", "zip.py": "readers"}


def test_each_kind_of_plug_in_is_shown() -> None:
    assert FILES.keys() == FOLDERS.keys() and len(RECIPES) == len(FILES)
    assert TEXT.count("```python") == len(FILES), "a code block that no test performs"


@pytest.mark.parametrize("name", FOLDERS)
def test_one_file_of_under_forty_lines_is_enough(name: str) -> None:
    assert len(FILES[name].splitlines()) < 40


def archive(first: int) -> bytes:
    """Returns a ZIP archive of three pictures, two of which have a text, and of files that are no pictures."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("folder/read me.md", "no picture")
        for n in range(first, first + 3):
            file.writestr(f"folder/{n}.jpg", bench.encoded(bench.picture(n, (300, 200))))
            if n != first:
                file.writestr(f"folder/{n}.txt", f"a wall of {n} coloured blocks")
    return buffer.getvalue()


def merged(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Merges the parts of the recipe into one."""
    whole: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            whole[key] = whole.get(key, {}) | value if isinstance(value, dict) else value
    return whole


@pytest.mark.slow
def test_the_four_plug_ins_do_the_whole_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, folder in FOLDERS.items():
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_text(FILES[name], encoding="utf-8")
        monkeypatch.setenv(f"CURATE_{folder.upper()}", str(tmp_path / folder))
    (tmp_path / "zips").mkdir()
    (tmp_path / "zips" / "one.zip").write_bytes(archive(0))
    (tmp_path / "zips" / "two.zip").write_bytes(archive(3)[:-40] + b"\0" * 40)  # without its list of members
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "pairs.tsv").write_text("A wall of 1 coloured blocks.\t一面有1个彩色方块的墙。\n")
    bench.recipe(tmp_path, **merged(RECIPES), workers=1, max_failed_share=1.0)
    first = process("run", "recipe.yaml", cwd=tmp_path, status=None)
    work = tmp_path / "work"
    samples = bench.rows(work / "samples/zips/one.parquet")
    assert [row["key"] for row in samples] == [f"zips/one/folder/{n}.jpg" for n in range(3)], first.stderr
    assert [row["caption"] for row in samples] == [None, *(f"a wall of {n} coloured blocks" for n in (1, 2))]
    assert bench.rows(work / "samples/zips/two.parquet") == [] and "damaged ZIP archive" in first.stdout + first.stderr
    scores = [row["typical_saturation"] for row in bench.rows(work / "signals/saturation/zips/one.parquet")]
    assert all(0.2 <= score <= 1 for score in scores) and len(set(scores)) > 1
    texts = bench.rows(work / "captions/zips/one.parquet")
    assert [row["caption_en"] for row in texts[1:]] == [f"A wall of {n} coloured blocks." for n in (1, 2)]
    assert [row["caption_zh"] for row in texts[1:]] == ["一面有1个彩色方块的墙。", None]
    assert [row["translated"] for row in texts[1:]] == [True, False]
    names = (name for name in os.listdir(work / "shards/concept") if name.endswith(".tar"))
    assert list(names) == ["000000.tar"]
