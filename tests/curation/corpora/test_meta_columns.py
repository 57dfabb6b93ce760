"""Metadata columns: whatever their names and types, they fit together over all shards, and a predicate sees the right
one."""

import json
from pathlib import Path
from typing import Any

import pytest

from curation.corpora.samples import numbered
from curation.views.query import run_query
from pipelines import stages
from tests import bench


def corpus(folder: Path, *shards: list[dict[str, Any]]) -> None:
    """Writes a tar for each list of JSON objects, one image each."""
    for number, rows in enumerate(shards):
        files = {}
        for at, row in enumerate(rows):
            files[f"{at}.jpg"] = bench.encoded(bench.picture(10 * number + at))
            files[f"{at}.json"] = json.dumps({"caption": "a picture"} | row).encode()
        bench.write_tar(folder / "raw" / f"{number:05d}.tar", files)


@pytest.mark.parametrize(
    "names, columns",
    [
        (["license", "LICENSE"], ["meta_license", "meta_license_2"]),
        (["LICENSE", "License"], ["meta_LICENSE", "meta_license_2"]),
        (["LICENSE"], ["meta_LICENSE"]),
        (["a", "A", "a_2"], ["meta_a", "meta_a_3", "meta_a_2"]),
    ],
)
def test_names_that_differ_only_in_case_are_columns_with_a_number(names: list[str], columns: list[str]) -> None:
    assert [numbered([f"meta_{name}" for name in names])[f"meta_{name}"] for name in names] == columns


def kept(folder: Path, **where: str) -> list[tuple[Any, ...]]:
    made = bench.recipe(folder, select={"where": where})
    for stage in (stages.index, stages.score, stages.select):
        assert stage(bench.opened(made), None).ok
    return run_query(bench.opened(made), "SELECT key FROM images WHERE kept ORDER BY key", 100)[1]


def test_one_images_spelling_of_a_name_does_not_hide_anothers(tmp_path: Path) -> None:
    corpus(tmp_path, [{"license": "cc0"}, {"LICENSE": "forbidden"}, {"license": "cc0", "LICENSE": "cc0"}])
    assert kept(tmp_path, free="coalesce(meta_license, meta_license_2) <> 'forbidden'") == [
        ("c/00000/0",),
        ("c/00000/2",),
    ]
    summary = stages.index(bench.opened(bench.recipe(tmp_path, workspace="./again")), None)
    assert any("LICENSE" in note and "meta_license_2" in note for note in summary.notes)


def test_spellings_of_a_name_are_the_same_columns_in_every_shard(tmp_path: Path) -> None:
    corpus(tmp_path, [{"license": "cc0"}], [{"LICENSE": "forbidden"}])
    assert kept(tmp_path, free="meta_license = 'cc0'") == [("c/00000/0",)]
    assert kept(tmp_path, free="meta_license_2 is distinct from 'forbidden'") == [("c/00000/0",)]
    made = bench.opened(bench.recipe(tmp_path))
    found = run_query(made, "SELECT meta_license, META_LICENSE_2 FROM images ORDER BY key", 9)[1]
    assert found == [("cc0", None), (None, "forbidden")]


VALUES = [["a"], "a", 1, 1.5, True, None, {"x": 1}, {"y": "q"}, {"x": "t"}, [{"x": 1}], 10**30]


@pytest.mark.slow
@pytest.mark.parametrize("first", VALUES, ids=str)
def test_types_that_differ_between_shards_stop_no_stage(tmp_path: Path, first: Any) -> None:
    corpus(tmp_path, [{"tags": first}], *([{"tags": other}] for other in VALUES))
    keys = kept(tmp_path, tagged="meta_tags IS NOT NULL OR meta_tags IS NULL")
    assert len(keys) == 1 + len(VALUES)
    names, rows, _ = run_query(bench.opened(bench.recipe(tmp_path)), "SELECT meta_tags FROM images ORDER BY key", 100)
    assert names == ["meta_tags"] and len(rows) == 1 + len(VALUES)
    assert '["a"]' in {str(row[0]) for row in rows}


def test_lists_and_objects_are_json_that_sql_can_read(tmp_path: Path) -> None:
    corpus(tmp_path, [{"tags": ["cat", "红"]}], [{"tags": "dog"}])
    assert kept(tmp_path, cats="""meta_tags LIKE '%"cat"%' AND meta_tags LIKE '%红%'""") == [("c/00000/0",)]
