"""Levels that are known: they decide the images, make items by which people are tested, and are refused if wrong."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from annotation_ui.database.tables import GOLD_ASKED, decisions, items, people, qualifications
from annotation_ui.intake.gold import import_gold
from annotation_ui.queue.rules import Refused
from annotation_ui.transfer.export import export
from curation.errors import UserError
from curation.recipe import Recipe
from curation.workspace.files import write_table
from tests import bench, voted


@pytest.fixture
def made(tmp_path: Path) -> Recipe:
    return voted.workspace(tmp_path)


def gold(tool: voted.Tool, text: str, by: str = "lead") -> dict[str, int]:
    file = tool.workspace.root.parent / "gold.csv"
    file.write_text(f"key,level\n{text}", encoding="utf-8")
    return import_gold(tool.database, tool.clock, tool.random, voted.project(tool), file, by)


def verdicts(tool: voted.Tool) -> list[Any]:
    question = (
        select(items.c.key, decisions.c.level, decisions.c.kind, people.c.name)
        .join(items, items.c.id == decisions.c.item_id)
        .join(people, people.c.id == decisions.c.person_id)
        .order_by(items.c.key)
    )
    return [tuple(row) for row in tool.database.read(lambda c: c.execute(question).all())]


def twins(tool: voted.Tool) -> list[Any]:
    return list(tool.database.read(lambda c: c.execute(select(items).where(items.c.kind == "gold")).all()))


def test_known_levels_decide_and_make_twins(made: Recipe) -> None:
    with voted.opened(made) as tool:
        assert gold(tool, "c/00000/0,5\nc/00001/2,1.0\n", by="Prof. Li") == {
            "gold": 2, "new": 2, "changed": 0, "verdicts_left": 0}  # fmt: skip
        assert verdicts(tool) == [("c/00000/0", 5, "gold", "Prof. Li"), ("c/00001/2", 1, "gold", "Prof. Li")]
        found = {row.key: row for row in twins(tool)}
        assert {key: row.known for key, row in found.items()} == {"c/00000/0": 5, "c/00001/2": 1}
        image = tool.database.read(
            lambda c: c.execute(select(items).where(items.c.key == "c/00000/0", items.c.kind == "image")).one()
        )
        assert (image.status, image.level) == ("decided", 5) and found["c/00000/0"].place == image.place
        assert {row.asked for row in found.values()} == {GOLD_ASKED}
        assert gold(tool, "c/00000/0,4\nc/00001/2,1\n") == {"gold": 2, "new": 0, "changed": 1, "verdicts_left": 0}
        assert verdicts(tool) == [("c/00000/0", 4, "gold", "lead"), ("c/00001/2", 1, "gold", "Prof. Li")]
        assert sorted(row.known for row in twins(tool)) == [1, 4]
        export(tool.database, tool.clock, made)
        levels = {row["key"]: (row["level"], row["decided_by"]) for row in bench.rows(tool.workspace.levels)}
        assert levels == {"c/00000/0": (4, "gold"), "c/00001/2": (1, "gold")}


def test_the_verdict_of_a_reviewer_stands(made: Recipe) -> None:
    with voted.opened(made) as tool:
        voted.decide(tool, "c/00000/0", 1, "Rita", "safety_review")
        assert gold(tool, "c/00000/0,5\n")["verdicts_left"] == 1
        assert verdicts(tool) == [("c/00000/0", 1, "safety_review", "Rita")] and twins(tool)[0].known == 5


def test_leases_end_so_that_no_vote_opens_the_image_again(made: Recipe) -> None:
    with voted.opened(made) as tool:
        held = {voted.item(tool, claimed.item_id).key: claimed for claimed in voted.claim(tool, "Ann")}
        gold(tool, "c/00000/0,5\n")
        with pytest.raises(Refused):
            voted.cast(tool, "Ann", held["c/00000/0"], level=2)
        image = voted.item(tool, held["c/00000/0"].item_id)
        assert (image.status, image.level, image.taken) == ("decided", 5, 0)


@pytest.mark.parametrize(("text", "says"), [
    ("c/00000/0,5\nc/00009/0,5\n", r'line 3: key: "c/00009/0": there is no such image among those voted on'),
    ("c/00000/0,6\n", "line 2: level: expected a whole number from 1 to 5"),
    (",5\n", "line 2: key: it is empty"),
    ("c/00000/0,5\nc/00000/0,4\n", 'line 3: level: "c/00000/0" has another one before, 5'),
    ("", "names no image"),
])  # fmt: skip
def test_a_wrong_line_is_told_and_nothing_is_taken_in(made: Recipe, text: str, says: str) -> None:
    with voted.opened(made) as tool:
        with pytest.raises(UserError, match=says):
            gold(tool, text)
        assert not twins(tool) and not verdicts(tool)


def test_a_name_that_would_move_the_cursor_is_refused(made: Recipe) -> None:
    with voted.opened(made) as tool, pytest.raises(UserError, match="printable"):
        gold(tool, "c/00000/0,5\n", by="\x1b[2Jlead")


def test_an_image_that_is_no_longer_kept_cannot_be_gold(made: Recipe) -> None:
    with voted.opened(made) as tool:
        key = "c/00000/0"
        tool.database.write(lambda c: c.execute(update(items).where(items.c.key == key).values(status="withdrawn")))
        with pytest.raises(UserError, match="must be kept by the selection"):
            gold(tool, f"{key},5\n")


def test_a_twin_follows_its_image_when_the_shard_has_changed(made: Recipe) -> None:
    with voted.opened(made) as tool:
        gold(tool, "c/00000/0,5\n")
        samples = bench.rows(tool.workspace.samples("c", "00000"))
        from curation.workspace.files import read_table

        table = read_table(tool.workspace.samples("c", "00000"))
        moved = table.to_pylist()
        moved[0]["offset"] += 512
        write_table(tool.workspace.samples("c", "00000"), type(table).from_pylist(moved, schema=table.schema))
        tool.take_in()
        assert twins(tool)[0].place["offset"] == samples[0]["offset"] + 512


def test_no_number_tells_which_items_are_gold(tmp_path: Path) -> None:
    with voted.opened(voted.workspace(tmp_path, images=40)) as tool:
        for half in range(2):
            gold(tool, "".join(f"c/0000{half}/{n},5\n" for n in range(20)))
        image_ids = tool.database.read(
            lambda c: c.execute(select(items.c.id).where(items.c.kind == "image")).scalars().all()
        )
        twin_ids = [row.id for row in twins(tool)]
        assert len(twin_ids) == 40 and sum(number < max(image_ids) for number in twin_ids) > 35


def test_another_level_counts_in_tests_that_are_not_over(tmp_path: Path) -> None:
    made = voted.workspace(tmp_path, annotation={"qualify": {"items": 2, "pass": 0.9}})
    with voted.opened(made) as tool:
        gold(tool, "c/00000/0,5\n")
        (claimed,) = voted.claim(tool, "ann")
        voted.cast(tool, "ann", claimed, level=5)
        gold(tool, "c/00000/0,4\nc/00000/1,4\n")
        voted.cast(tool, "ann", claimed, revision=1, level=4)
        (other,) = voted.claim(tool, "ann")
        voted.cast(tool, "ann", other, level=3)
        row = tool.database.read(lambda c: c.execute(select(qualifications)).one())
        assert (row.state, row.correct, row.answered) == ("failed", 1, 2)
