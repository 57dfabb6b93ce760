"""Votes and verdicts given elsewhere: those that count come in, also on images that join the selection later."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from sqlalchemy import select

from annotation_ui.database.tables import decisions, items, people, slots, votes
from annotation_ui.transfer.export import export
from curation.annotation.levels import counting_votes, read_votes
from curation.errors import StageError
from curation.recipe import Recipe
from curation.workspace import Workspace
from curation.workspace.files import write_table
from curation.workspace.schemas import DECISIONS
from tests import bench, voted
from tests.annotation_ui.transfer.test_votes_out import import_csv


@pytest.fixture
def made(tmp_path: Path) -> Recipe:
    return voted.workspace(tmp_path)


def verdict(key: str, level: int | None, day: int | None, kind: str = "adjudication") -> dict[str, Any]:
    at = None if day is None else datetime(2026, 1, day, 12, tzinfo=UTC)
    return {"key": key, "level": level, "kind": kind, "annotator": "Rita", "at": at, "note": None}


def write(made: Recipe, *verdicts: dict[str, Any]) -> Path:
    path = Workspace(made.workspace).decisions
    write_table(path, pa.Table.from_pylist(list(verdicts), schema=DECISIONS))
    return path


def test_the_latest_verdict_comes_in_and_one_that_was_taken_back_does_not(made: Recipe) -> None:
    write(made, verdict("c/00000/0", 3, 5), verdict("c/00000/0", 4, 2), verdict("c/00000/1", 2, 1),
          verdict("c/00000/1", None, 2), verdict("c/00000/2", 5, None), verdict("x/0/0", 5, 1))  # fmt: skip
    with voted.opened(made) as tool:
        question = select(items.c.key, decisions.c.level, items.c.status).join(items, items.c.id == decisions.c.item_id)
        found = tool.database.read(lambda c: c.execute(question.order_by(items.c.key)).all())
        assert [tuple(row) for row in found] == [("c/00000/0", 3, "decided"), ("c/00000/2", 5, "decided")]


def test_verdicts_pass_through_the_database_unchanged_beside_new_ones(made: Recipe) -> None:
    path = write(made, verdict("c/00000/0", 3, 5), verdict("c/00000/2", 5, None, "gold"), verdict("x/0/0", 5, 1))
    before = bench.rows(path)
    with voted.opened(made) as tool:
        export(tool.database, tool.clock, made)
        assert bench.rows(path) == before
        voted.decide(tool, "c/00001/1", 4, "Rita")
        export(tool.database, tool.clock, made)
        first, after = path.read_bytes(), bench.rows(path)
        assert [row for row in after if row["key"] != "c/00001/1"] == before and len(after) == 4
        assert [row["note"] for row in after if row["key"] == "c/00001/1"] == ["as I see it"]
        export(tool.database, tool.clock, made)
        assert path.read_bytes() == first
    (Path(made.workspace) / "annotation/votes.sqlite").unlink()
    with voted.opened(made) as tool:
        export(tool.database, tool.clock, made)
        assert path.read_bytes() == first


def test_leases_end_where_a_verdict_comes_in(made: Recipe) -> None:
    with voted.opened(made) as tool:
        voted.claim(tool, "Ann")
        write(made, verdict("c/00000/0", 3, 5))
        tool.take_in()
        image = tool.database.read(lambda c: c.execute(select(items).where(items.c.key == "c/00000/0")).one())
        assert (image.status, image.taken) == ("decided", 0)


def test_votes_on_an_image_that_is_kept_only_later_come_in_then(made: Recipe) -> None:
    selection = Workspace(made.workspace).selection("c", "00001")
    kept = selection.read_bytes()
    import_csv(made)
    selection.unlink()
    with voted.opened(made) as tool:
        assert tool.database.read(lambda c: len(c.execute(select(votes.c.id)).all())) == 4
        selection.write_bytes(kept)
        tool.take_in()
        assert tool.database.read(lambda c: len(c.execute(select(votes.c.id)).all())) == 6


def standing(tool: voted.Tool) -> dict[str, list[tuple[str, int, str]]]:
    """Returns the votes that stand in the database, by key: who, level and the state of the image."""
    question = (
        select(items.c.key, people.c.name, slots.c.level, items.c.status)
        .join(slots, slots.c.item_id == items.c.id)
        .join(people, people.c.id == slots.c.person_id)
        .where(slots.c.state == "voted")
    )
    found: dict[str, list[tuple[str, int, str]]] = {}
    for key, *vote in tool.database.read(lambda c: c.execute(question.order_by(people.c.name)).all()):
        found.setdefault(key, []).append(tuple(vote))
    return found


def test_a_correction_that_is_imported_replaces_the_vote_and_decides_anew(made: Recipe) -> None:
    head = "key,annotator,level\n"
    import_csv(
        made, head + "".join(f"c/00000/0,{name},{level}\n" for name, level in zip("ABC", (5, 5, 4), strict=True))
    )
    with voted.opened(made) as tool:
        voted.settle_all(tool)
        assert standing(tool)["c/00000/0"] == [("A", 5, "decided"), ("B", 5, "decided"), ("C", 4, "decided")]
        import_csv(made, f"{head}c/00000/0,B,4\n")
        tool.take_in()
        voted.settle_all(tool)
        assert standing(tool)["c/00000/0"] == [("A", 5, "decided"), ("B", 4, "decided"), ("C", 4, "decided")]
        level = select(items.c.level).where(items.c.key == "c/00000/0")
        assert tool.database.read(lambda c: c.execute(level).scalar_one()) == 4
        export(tool.database, tool.clock, made)
    assert [row["level"] for row in bench.rows(Workspace(made.workspace).levels)] == [4]
    assert len(bench.rows(Workspace(made.workspace).votes)) == 4


def test_of_a_vote_in_the_tool_and_one_that_is_imported_the_same_stands_here_and_in_the_file(made: Recipe) -> None:
    def in_file() -> dict[str, int]:
        counting = counting_votes(read_votes(Workspace(made.workspace)))
        return dict(zip(counting["annotator"].to_pylist(), counting["level"].to_pylist(), strict=True))

    head, key = "key,annotator,level\n", "c/00000/1"
    with voted.opened(made) as tool:
        held = {
            name: next(c for c in voted.claim(tool, name) if voted.item(tool, c.item_id).key == key) for name in "AB"
        }
        voted.cast(tool, "A", held["A"], level=2)
        export(tool.database, tool.clock, made)
        import_csv(made, f"{head}{key},A,3\n{key},B,3\n")  # after A's vote was known, and before B's was
        voted.cast(tool, "B", held["B"], level=5)
        tool.take_in()
        assert standing(tool)[key] == [("A", 3, "open"), ("B", 5, "open")]
        export(tool.database, tool.clock, made)
        assert in_file() == {"A": 3, "B": 5}
        for _ in range(2):
            first = Workspace(made.workspace).votes.read_bytes()
            Workspace(made.workspace).votes.touch()
            tool.take_in()
            export(tool.database, tool.clock, made)
            assert Workspace(made.workspace).votes.read_bytes() == first
            assert standing(tool)[key] == [("A", 3, "open"), ("B", 5, "open")]
        voted.cast(tool, "A", held["A"], level=1, revision=2)
        export(tool.database, tool.clock, made)
        assert in_file() == {"A": 1, "B": 5}
        assert len(bench.rows(Workspace(made.workspace).votes)) == 5


@pytest.mark.parametrize("name", ["x" * 201, "a\0b"])
def test_a_name_on_file_that_no_database_holds_is_told(made: Recipe, name: str) -> None:
    write(made, verdict("c/00000/0", 3, 5) | {"annotator": name})
    with pytest.raises(StageError, match=r"^votes.parquet or decisions.parquet: the annotator '") as told:
        with voted.opened(made):
            pass
    assert "\n" not in str(told.value)
