"""The ledger: what it remembers, what it forgives, and why it calls a shard stale."""

from pathlib import Path

import pytest

from curation.corpora.samples import meta_schemas
from curation.views.status import status
from curation.workspace import Workspace
from curation.workspace.files import stamps
from curation.workspace.ledger import Ledger, changes
from pipelines import stages
from tests import bench


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "work")


def written(folder: Path, **files: str) -> list[str]:
    for name, text in files.items():
        (folder / name).write_text(text)
    return [str(folder / name) for name in files]


def noted(workspace: Workspace, files: list[str], mark: dict) -> Ledger:
    ledger = Ledger(workspace, "score", writable=True)
    ledger.add("c", "0", {"files": stamps(files), "mark": mark, "failed": {}})
    return Ledger(workspace, "score")


def test_a_shard_is_done_while_its_files_and_its_mark_are_the_same(workspace: Workspace, tmp_path: Path) -> None:
    files = written(tmp_path, samples="a", photo="b")
    ledger = noted(workspace, files, {"photo": {"version": 1}})
    now = ledger.define_mark({"photo": {"version": 1}})
    assert ledger.stale("c", "0", files, now) is None
    assert ledger.stale("c", "1", files, now) == "new"
    written(tmp_path, photo="other")
    assert ledger.stale("c", "0", files, now) == "a file is missing or was changed"
    Path(files[1]).unlink()
    assert ledger.stale("c", "0", files, now) == "a file is missing or was changed"
    written(tmp_path, samples="other")
    assert ledger.stale("c", "0", files, now) == "its images were indexed anew"


def test_the_reason_names_the_part_that_changed(workspace: Workspace, tmp_path: Path) -> None:
    files = written(tmp_path, samples="a")
    old = {"faces": {"version": 1, "parameters": {"side": 640}}, "where.sharp": "sharpness >= 8", "ocr": {"version": 2}}
    ledger = noted(workspace, files, old)
    new = {
        "faces": {"version": 1, "parameters": {"side": 320}},
        "where.sharp": "sharpness >= 9",
        "photo": {"version": 1},
    }
    told = ledger.stale("c", "0", files, ledger.define_mark(new))
    assert told == ("faces.parameters.side: 640 → 320; where.sharp: sharpness >= 8 → sharpness >= 9; ocr is gone; photo is new")  # fmt: skip


@pytest.mark.parametrize("torn", ["", "{", '{"shard": "c/0", "files"', "[1]", "null", '{"shard": 3}', "[" * 5000])
def test_a_torn_line_costs_nothing_but_itself(workspace: Workspace, tmp_path: Path, torn: str) -> None:
    files = written(tmp_path, samples="a")
    noted(workspace, files, {"photo": 1})
    with open(workspace.ledger("score"), "a") as file:
        file.write("\n" + torn)
    after = Ledger(workspace, "score", writable=True)
    assert after.stale("c", "0", files, after.define_mark({"photo": 1})) is None
    after.add("c", "1", {"files": stamps(files), "mark": {"photo": 1}})
    assert set(Ledger(workspace, "score").lines) == {"c/0", "c/1"}


@pytest.mark.slow
def test_a_lost_definition_costs_one_more_look(tmp_path: Path) -> None:
    bench.write_tar(
        tmp_path / "raw" / "00000.tar", {"a.jpg": bench.encoded(bench.picture(1)), "a.json": b'{"likes": 3}'}
    )
    made = bench.recipe(tmp_path, select={"where": {"liked": "meta_likes >= 1"}})
    for stage in stages.STAGES.values():
        assert stage(bench.opened(made), None).ok
    for path in (tmp_path / "work" / ".ledger").iterdir():
        path.write_text("".join(line for line in path.read_text().splitlines(True) if '"define"' not in line))
    (tmp_path / "work" / ".ledger" / "meta.json").unlink()
    meta_schemas.clear()
    assert status(bench.opened(made))["stages"]["index"]["images"] == 1
    for stage in stages.STAGES.values():
        assert stage(bench.opened(made), None).ok
    assert status(bench.opened(made))["stages"]["select"]["kept"] == 1


def test_the_last_line_of_a_shard_counts_and_many_old_ones_are_tidied_away(workspace: Workspace) -> None:
    ledger = Ledger(workspace, "score", writable=True)
    ledger.note("shards", {"c": 2})
    for number in range(300):
        ledger.add("c", "0", {"files": [], "rows": number})
    ledger.add("c", "gone", {"files": []})
    size = workspace.ledger("score").stat().st_size
    again = Ledger(workspace, "score", writable=True)
    assert again.lines["c/0"]["rows"] == 299
    again.tidy(["c/0"])
    assert workspace.ledger("score").stat().st_size < size / 100
    last = Ledger(workspace, "score")
    assert set(last.lines) == {"c/0"} and last.facts == {"shards": {"c": 2}}


def test_a_reader_writes_nothing(workspace: Workspace) -> None:
    ledger = Ledger(workspace, "score")
    ledger.add("c", "0", {"files": [], "mark": {"photo": 1}})
    ledger.note("shards", 1)
    assert not workspace.root.exists()


def test_changes_go_into_lists_and_mappings() -> None:
    assert changes("a", {"b": [1, {"c": 2}]}, {"b": [1, {"c": 3}]}) == ["a.b.1.c: 2 → 3"]
    assert changes("a", None, 3) == ["a is new"] and changes("a", 3, 3) == []
    assert changes("a", "x" * 100, "y") == ["a: " + "x" * 59 + "… → y"]
