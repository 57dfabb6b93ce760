"""Small corpora as people have them, from ../shared/field: no row is lost, no caption becomes another's or nonsense."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines import stages
from tests import bench

FIELD = Path(__file__).resolve().parents[3].parent / "shared" / "field"
CASES: dict[str, Any] = json.loads((FIELD / "expected.json").read_text()) if FIELD.is_dir() else {}

pytestmark = pytest.mark.skipif(not CASES, reason="../shared/field is not there")


@pytest.mark.parametrize("name", CASES)
def test_every_picture_is_a_row_and_every_caption_is_with_its_picture(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    (tmp_path / "raw").symlink_to(FIELD / name / "in")
    made = bench.recipe(tmp_path, corpora=[{"name": "c", "path": str(tmp_path / "raw"), "format": case["format"]}])
    stages.index(bench.opened(made))
    files = [path for path in (tmp_path / "work/samples/c").glob("*.parquet") if path.stem != "files"]
    rows = [row for path in files for row in bench.rows(path)]
    assert len(rows) == case.get("exactly", len(rows))
    by_sha = {row["sha256"]: row for row in rows}
    assert len({row["key"] for row in rows}) == len(rows)
    for wanted in (row for row in case["rows"] if "sha256" in row):
        row = by_sha[wanted["sha256"]]
        assert row["status"] == "ok", row["error"]
        if "caption" in wanted:
            assert row["caption"] in wanted["caption"], row
