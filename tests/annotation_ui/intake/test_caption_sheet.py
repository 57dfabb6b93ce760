"""The captions of the sheet as items: complete, blind, renewed with the sheet, and scored into the result."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from sqlalchemy import select

from annotation_ui.database.tables import items
from annotation_ui.intake import has_items
from annotation_ui.items import described
from annotation_ui.task import read_tasks
from annotation_ui.transfer.export import export
from curation.annotation.caption_eval.criteria import CRITERIA_HELP
from curation.annotation.caption_eval.files import CRITERIA, EvalFiles
from curation.annotation.caption_eval.table import table
from curation.errors import StageError, UserError
from curation.recipe import Recipe
from curation.workspace import Workspace
from curation.workspace.files import read_table, write_table
from tests import bench, evaluated, voted

DESCRIBE = {"captioner": {"backend": "describe"}}
TWO = {"captioners": {"both": DESCRIBE, "english": DESCRIBE | {"translator": None}}}


@pytest.fixture
def made(tmp_path: Path) -> Recipe:
    """Six images, captioned by two captioners of which one gives no Chinese."""
    made = voted.workspace(tmp_path, signals={"photo": {}}, caption_eval=TWO)
    evaluated.sheet(made)
    return made


def sheet(made: Recipe) -> Path:
    return EvalFiles(Workspace(made.workspace)).sheet


def rows(tool: voted.Tool) -> list[Any]:
    number = voted.project(tool, "captions")
    return list(tool.database.read(lambda c: c.execute(select(items).where(items.c.project_id == number)).all()))


def score(tool: voted.Tool, name: str, scores: dict[str, int]) -> None:
    """Lets a person score all captions; `scores` by captioner is the score of every criterion."""
    captioner = {r["item"]: r["captioner"] for r in bench.rows(EvalFiles(tool.workspace).captions)}
    while claims := voted.claim(tool, name, "captions"):
        for claimed in claims:
            parts = voted.item(tool, claimed.item_id).content["parts"]
            answer = {part["id"]: dict.fromkeys(CRITERIA, scores[captioner[part["item"]]]) for part in parts}
            voted.cast(tool, name, claimed, task="captions", answer=answer)


def test_an_item_for_each_image_with_all_its_captions(made: Recipe) -> None:
    with voted.opened(made) as tool:
        found = rows(tool)
        assert {row.asked for row in found} == {10} and len(found) == 6
    listed: dict[str, dict[str, Any]] = {}
    for row in bench.rows(sheet(made)):
        listed.setdefault(row["key"], {})[row["item"]] = (row["caption_zh"], row["caption_en"])
    stored = {
        row.key: {p["item"]: (p["caption_zh"], p["caption_en"]) for p in row.content["parts"]} for row in found
    }  # fmt: skip
    assert stored == listed
    samples = {r["key"]: r for shard in ("00000", "00001") for r in bench.rows(tool.workspace.samples("c", shard))}
    for row in found:
        assert row.place["sha256"] == samples[row.key]["sha256"] and row.place["offset"] == samples[row.key]["offset"]


def test_the_page_is_told_nothing_from_which_the_captioner_follows(made: Recipe) -> None:
    """Neither name nor key, nor the sheet's identifiers, which a digest of key, captioner and captions gives."""
    with voted.opened(made) as tool:
        claims, who = voted.claim(tool, "Ann", "captions"), voted.person(tool, "Ann")
        shown = tool.database.read(lambda c: described(c, claims, who, tool.clock(), 0.1))
        text = json.dumps([one.model_dump() for one in shown], ensure_ascii=False)
    rows = bench.rows(EvalFiles(Workspace(made.workspace)).captions)
    for secret in {"english", "both", "describe", *(row["key"] for row in rows), *(row["item"] for row in rows)}:
        assert f'"{secret}' not in text and f'{secret}"' not in text, secret
    assert len(shown) == 6 and all(len(one.parts or []) == 2 and one.prompt is None for one in shown)
    assert {frozenset(part) for one in json.loads(text) for part in one["parts"]} == {
        frozenset(("id", "caption_zh", "caption_en"))
    }


def test_the_order_of_captions_is_left_to_chance_and_stays(made: Recipe) -> None:
    """The sheet's own order follows from key and captioner, so that it is not used."""
    orders = set()
    for _ in range(8):
        with voted.opened(made) as tool:
            first = [[part["item"] for part in row.content["parts"]] for row in rows(tool)]
            tool.take_in()
            assert [[part["item"] for part in row.content["parts"]] for row in rows(tool)] == first
            orders.add(str(first))
        (Path(made.workspace) / "annotation" / "votes.sqlite").unlink()
    assert len(orders) > 1


def test_scores_come_back_into_the_papers_table(made: Recipe) -> None:
    with voted.opened(made) as tool:
        score(tool, "王芳", {"both": 5, "english": 2})
        score(tool, "Ann", {"both": 4, "english": 3})
        assert export(tool.database, tool.clock, made)["captions"] == {"scores": 24}
        result = table(bench.opened(made))
        assert (result.images, result.evaluators, result.scores) == (6, 2, 24)
        means = {row.captioner: row.estimates["completeness"] for row in result.rows}
        assert {name: found and found.mean for name, found in means.items()} == {"both": 4.5, "english": 2.5}
        before = EvalFiles(tool.workspace).scores.read_bytes()
        assert export(tool.database, tool.clock, made)["captions"] == {"scores": 0}
        assert EvalFiles(tool.workspace).scores.read_bytes() == before


def test_changed_and_withdrawn_scores_are_revisions_beside_imported_ones(made: Recipe) -> None:
    with voted.opened(made) as tool:
        (claimed,) = voted.claim(tool, "Ann", "captions", wanted=1)
        parts = voted.item(tool, claimed.item_id).content["parts"]

        def vote(value: int, revision: int) -> None:
            answer = {part["id"]: dict.fromkeys(CRITERIA, value) for part in parts}
            voted.cast(tool, "Ann", claimed, revision, task="captions", answer=answer)

        def history() -> list[Any]:
            export(tool.database, tool.clock, made)
            found = bench.rows(EvalFiles(tool.workspace).scores)
            return [(r["revision"], r["hallucination"]) for r in found if r["item"] == parts[0]["item"]]

        vote(3, 0)
        assert history() == [(1, 3)]
        vote(4, 1)
        vote(3, 2)
        assert history() == [(1, 3), (2, 4), (3, 3)]
        from curation.annotation.caption_eval.scores import import_scores

        own = evaluated.score_file(tool.workspace.root / "own.csv", [[parts[0]["item"], "Ann", 1, 1, 1, 1]])
        assert import_scores(bench.opened(made), own)["scores"] == 1
        assert history() == [(1, 3), (2, 4), (3, 3), (4, 1)]
        voted.withdraw(tool, "Ann", claimed, 3, task="captions")
        assert history() == [(1, 3), (2, 4), (3, 3), (4, 1), (5, None)]
        with pytest.raises(UserError, match="there are no scores yet"):
            table(bench.opened(made))
        vote(5, 4)
        assert history()[-1] == (6, 5)


def test_a_new_sheet_replaces_what_has_changed_and_brings_back_what_returns(made: Recipe) -> None:
    whole = read_table(sheet(made))
    with voted.opened(made) as tool:
        held = voted.claim(tool, "Ann", "captions", wanted=10)
        key = voted.item(tool, held[0].item_id).key
        answer = {p["id"]: dict.fromkeys(CRITERIA, 2) for p in voted.item(tool, held[0].item_id).content["parts"]}
        voted.cast(tool, "Ann", held[0], task="captions", answer=answer)
        gone = voted.item(tool, held[1].item_id).key
        changed = [row for row in whole.to_pylist() if row["key"] != gone]
        for row in changed:
            row["item"] = f"new{row['item'][3:]}" if row["key"] == key else row["item"]
        write_table(sheet(made), pa.Table.from_pylist(changed, schema=whole.schema))
        tool.take_in()
        statuses = {row.key: row.status for row in rows(tool)}
        assert statuses.pop(gone) == "withdrawn" and statuses[key] == "open"
        (former,) = [row for row in rows(tool) if row.key.startswith(f"{key} ")]
        assert (former.id, former.status, former.voted) == (held[0].item_id, "withdrawn", 1)
        assert held[1].item_id not in [c.item_id for c in voted.claim(tool, "Ann", "captions")]
        write_table(sheet(made), whole)
        tool.take_in()
        back = voted.item(tool, held[0].item_id)
        assert (back.key, back.status, back.voted) == (key, "open", 1)
        assert {row.key: row.status for row in rows(tool)}[gone] == "open"


def test_nothing_to_ask_without_a_sheet_and_its_path_is_that_of_the_evaluation(made: Recipe) -> None:
    assert has_items("caption_sheet", made)
    sheet(made).unlink()
    assert not has_items("caption_sheet", made)
    with voted.opened(made) as tool:
        assert [task.name for task in tool.tasks.values()] == ["levels"]


@pytest.mark.parametrize("harm", ["garbage", "no column"])
def test_a_broken_sheet_is_one_line_and_does_not_stop_the_votes_on_levels(made: Recipe, harm: str) -> None:
    if harm == "garbage":
        sheet(made).write_bytes(b"not Parquet")
    else:
        write_table(sheet(made), read_table(sheet(made)).drop_columns(["caption_en"]))
    with voted.closing(voted.open_tool(made)) as tool:
        with pytest.raises(StageError, match="sheet.parquet") as told:
            tool.take_in()
        assert "\n" not in str(told.value) and ("caption_en" in str(told.value) or harm == "garbage")
        assert len(voted.claim(tool, "Ann")) == 6


def test_images_that_the_index_no_longer_has_are_told_and_left_out(
    made: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    table = read_table(sheet(made)).to_pylist()
    odd = {row["key"] for row in table}.pop()
    moved = [row | {"key": f"c/00009/\x1b[2J{row['key'][-1]}"} if row["key"] == odd else row for row in table]
    write_table(sheet(made), pa.Table.from_pylist(moved, schema=read_table(sheet(made)).schema))
    with voted.opened(made) as tool:
        assert len(rows(tool)) == 5
    assert "1 image left out that the index no longer has" in capsys.readouterr().err


def test_the_declaration_asks_what_the_paper_asks() -> None:
    task = read_tasks()["captions"]
    assert tuple(criterion.name for criterion in task.criteria) == CRITERIA and task.votes == 10
    for criterion in task.criteria:
        asked = CRITERIA_HELP[criterion.name]  # type: ignore[index]
        assert asked["en"].partition("?")[0][:12] == criterion.help.en[:12] and "？" in criterion.help.zh
        assert criterion.ends.keys() == {"1", "5"}
