"""The queue follows the selection: new images join, others leave with their votes on record and may come back."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from sqlalchemy import select

from annotation_ui.database.tables import items, people, projects, shards, slots, votes
from annotation_ui.queue.settling import settle
from curation.errors import StageError
from curation.workspace import Workspace
from curation.workspace.files import write_table
from curation.workspace.schemas import DECISIONS, PREDICTIONS
from tests import bench
from tests.annotation_ui.team import MINUTE, Member, Team, make_team, make_workspace, select_again


@pytest.fixture
def team(tmp_path: Path, empty_database_url: str) -> Iterator[Team]:
    made = make_team(make_workspace(tmp_path, 3), empty_database_url)
    yield made
    made.tool.close()


def queue(team: Team) -> dict[str, Any]:
    with team.tool.database.reading() as connection:
        return {row.key[-3:]: row for row in connection.execute(select(items).order_by(items.c.id))}


def select_by(team: Team, rule: str) -> None:
    """Selects by another rule, and lets the queue follow."""
    recipe = team.tool.recipe
    folder = Path(recipe.workspace).parent
    team.tool.recipe = bench.recipe(folder, select={"where": {"size": rule}})
    select_again(team.tool.recipe)
    team.tool.take_in()


def test_the_kept_images_are_asked_with_their_places(team: Team) -> None:
    found = queue(team)
    assert list(found) == ["000", "001", "002"]
    assert {row.status for row in found.values()} == {"open"} and {row.asked for row in found.values()} == {3}
    place = found["001"].place
    assert (place["corpus"], place["shard"], place["width"]) == ("c", "00000", 160) and len(place["sha256"]) == 64
    assert len({row.shuffle for row in found.values()}) == 3


def test_nothing_is_read_again_until_something_changes(team: Team) -> None:
    with team.tool.database.reading() as connection:
        before = connection.execute(select(shards)).all()
    team.tool.take_in()
    with team.tool.database.reading() as connection:
        assert connection.execute(select(shards)).all() == before and before[0].synced


def test_new_images_of_a_later_selection_join(team: Team, tmp_path: Path) -> None:
    ann = team.member("ann")
    ann.vote(ann.claim(1)[0], 5)
    bench.write_tar(tmp_path / "raw" / "00001.tar", {"900.jpg": bench.encoded(bench.picture(900, (160, 120)))})
    select_again(team.tool.recipe)
    team.tool.take_in()
    assert list(queue(team)) == ["000", "001", "002", "900"]
    with team.tool.database.reading() as connection:
        assert len(connection.execute(select(votes)).all()) == 1
    assert len(ann.claim(10)) == 3


def test_images_that_are_no_longer_kept_leave_and_come_back_with_their_votes(team: Team) -> None:
    ann, bo = team.member("ann"), team.member("bo")
    (voted, held, *_) = ann.claim(3)
    ann.vote(voted, 4)
    bo.claim(3)
    select_by(team, "min_side >= 500")
    assert {row.status for row in queue(team).values()} == {"withdrawn"}
    assert {row.taken - row.voted for row in queue(team).values()} == {0}  # no lease is left
    assert ann.claim(3) == [] and ann.vote(held, 3, 409)["error"]["code"] == "lease_lost"
    select_by(team, "min_side >= 64")
    assert {row.status for row in queue(team).values()} == {"open"}
    assert sum(row.voted for row in queue(team).values()) == 1
    assert len(ann.claim(3)) == 2


def test_what_is_decided_stays_decided(team: Team) -> None:
    for name in ("ann", "bo", "chen"):
        person = team.member(name)
        for item in person.claim(3):
            person.vote(item, 5)
    team.clock.now += MINUTE
    team.tool.database.write(lambda c: settle(c, team.clock))
    select_by(team, "min_side >= 500")
    assert {(row.status, row.level) for row in queue(team).values()} == {("decided", 5)}


@pytest.mark.parametrize(("asked", "status", "slots"), [(5, "open", 5), (2, "open", 2), (1, "closing", 1)])
def test_another_number_of_votes_holds_for_what_is_open(team: Team, asked: int, status: str, slots: int) -> None:
    ann = team.member("ann")
    (item,) = ann.claim(1)
    ann.vote(item, 4)
    recipe = team.tool.recipe
    annotation = recipe.annotation.model_copy(update={"votes": asked})
    team.tool.recipe = recipe.model_copy(update={"annotation": annotation})
    team.tool.take_in()
    found = {row.id: row for row in queue(team).values()}
    assert (found[item["id"]].status, found[item["id"]].asked) == (status, slots)
    assert {row.asked for row in found.values()} == {asked}


def ask(team: Team, asked: int) -> tuple[Any, dict[str, tuple[int | None, str]]]:
    """Asks another number of votes; returns the first image, and each person's slot and state."""
    annotation = team.tool.recipe.annotation.model_copy(update={"votes": asked})
    team.tool.recipe = team.tool.recipe.model_copy(update={"annotation": annotation})
    team.tool.take_in()
    item = queue(team)["000"]
    parts = select(people.c.name, slots.c.slot, slots.c.state).join(people, people.c.id == slots.c.person_id)
    with team.tool.database.reading() as connection:
        return item, {
            row.name: (row.slot, row.state) for row in connection.execute(parts.where(slots.c.item_id == item.id))
        }


def hold(team: Team, *names: str) -> list[tuple[Member, dict[str, Any]]]:
    """Lets some people hold the first image."""
    first, held = queue(team)["000"].id, []
    for name in names:
        member = team.member(name)
        held.append((member, next(item for item in member.claim(3) if item["id"] == first)))
    return held


def test_fewer_votes_can_be_asked_whatever_slots_are_held(team: Team) -> None:
    ask(team, 5)
    for member, item in reversed(hold(team, "ann", "ben", "cay", "dan")):
        if member.me["person"]["name"] == "dan":
            member.vote(item, 5)  # in the fourth slot
        else:
            member.post("release", leases=[item["lease"]])
    item, parts = ask(team, 2)
    assert (item.asked, item.taken, item.voted, item.status) == (2, 1, 1, "open") and parts["dan"] == (1, "voted")


def test_who_holds_an_image_that_needs_no_further_vote_gives_it_back(team: Team) -> None:
    (ann, first), (ben, second), (cay, third) = hold(team, "ann", "ben", "cay")
    ann.vote(first, 5), ben.vote(second, 5)
    item, parts = ask(team, 2)
    assert (item.asked, item.taken, item.voted, item.status) == (2, 2, 2, "closing")
    assert parts["cay"] == (None, "returned")
    assert cay.vote(third, 5, 409)["error"]["code"] == "lease_lost"


def test_what_fewer_votes_decided_than_are_asked_is_asked_again_and_a_verdict_stands(team: Team) -> None:
    for (member, item), level in zip(hold(team, "ann", "ben", "cay"), (5, 4, 3), strict=True):
        member.vote(item, level)
    team.clock.now += MINUTE
    team.tool.database.write(lambda c: settle(c, team.clock))
    assert queue(team)["000"].status == "tie"
    item, parts = ask(team, 5)
    assert (item.asked, item.voted, item.status, item.level) == (5, 3, "open", None)
    ask(team, 3), team.tool.database.write(lambda c: settle(c, team.clock))
    judge = team.member("judge", "reviewer")
    judge.post("decisions", item=item.id, level=4, request="judgement")
    item, _ = ask(team, 5)
    assert (item.asked, item.status, item.level) == (3, "decided", 4)


def test_a_verdict_on_file_holds_for_an_image_that_comes_back(team: Team) -> None:
    workspace, key = Workspace(team.tool.recipe.workspace), queue(team)["000"].key
    select_by(team, "min_side >= 9999")
    verdict = {"key": key, "level": 4, "kind": "adjudication", "annotator": "judge", "at": None, "note": None}
    write_table(workspace.decisions, pa.Table.from_pylist([verdict], schema=DECISIONS))
    team.tool.take_in()
    select_by(team, "min_side >= 64")
    assert (queue(team)["000"].status, queue(team)["000"].level) == ("decided", 4)


def test_an_image_that_was_unavailable_is_tried_again_once_it_is_mended(team: Team, tmp_path: Path) -> None:
    ann = team.member("ann")
    (item,) = ann.claim(1)
    tar = tmp_path / "raw" / "00000.tar"
    whole = tar.read_bytes()
    tar.write_bytes(b"\0" * len(whole))
    ann.get(item["pictures"][0]["preview"], 410)
    tar.write_bytes(whole)
    tar.touch()
    select_again(team.tool.recipe)
    sidecar = Workspace(tmp_path / "work").selection("c", "00000")
    sidecar.touch()
    team.tool.take_in()
    assert {row.status for row in queue(team).values()} == {"open"}
    (again,) = [shown for shown in ann.claim(3) if shown["id"] == item["id"]]
    assert ann.client.get(again["pictures"][0]["preview"]).status_code == 200


def test_a_vanished_shard_leaves_the_queue(team: Team, tmp_path: Path) -> None:
    (tmp_path / "raw" / "00000.tar").unlink()
    bench.write_tar(tmp_path / "raw" / "00009.tar", {"1.jpg": bench.encoded(bench.picture(9, (160, 120)))})
    ann = team.member("ann")
    (item,) = ann.claim(1)
    assert "unavailable" in str(ann.get(item["pictures"][0]["preview"], 410))
    select_again(team.tool.recipe)
    team.tool.take_in()
    with team.tool.database.reading() as connection:
        found = {row.key: row.status for row in connection.execute(select(items))}
    assert found.pop("c/00009/1") == "open" and set(found.values()) == {"withdrawn"}


def test_a_workspace_of_another_corpus_asks_for_its_own_images_alone(team: Team, tmp_path: Path) -> None:
    ann = team.member("ann")
    ann.vote(ann.claim(1)[0], 5)
    shutil.rmtree(tmp_path / "work" / "samples")
    shutil.rmtree(tmp_path / "work" / "selection")
    shutil.rmtree(tmp_path / "work" / ".ledger")
    (tmp_path / "raw" / "00000.tar").unlink()
    bench.write_tar(tmp_path / "raw" / "other.tar", {"1.jpg": bench.encoded(bench.picture(9, (160, 120)))})
    select_again(team.tool.recipe)
    team.tool.take_in()
    with team.tool.database.reading() as connection:
        found = {row.key: row for row in connection.execute(select(items))}
    assert found.pop("c/other/1").status == "open"
    assert {row.status for row in found.values()} == {"withdrawn"} and sum(row.voted for row in found.values()) == 1


def test_a_damaged_file_of_the_workspace_is_named_and_costs_no_vote(team: Team, tmp_path: Path) -> None:
    ann = team.member("ann")
    ann.vote(ann.claim(1)[0], 5)
    path = Workspace(tmp_path / "work").selection("c", "00000")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(StageError, match="selection/c/00000.parquet is damaged"):
        team.tool.take_in()
    assert sum(row.voted for row in queue(team).values()) == 1


def test_the_predictions_order_what_is_asked_first(team: Team, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "work")
    keys = [f"c/00000/{n:03}" for n in range(3)]
    chances = {0: 0.1, 1: 0.9, 2: 0.5}
    rows = [
        {
            "key": key,
            "p1": 0.0,
            "p2": 0.0,
            "p3": 0.0,
            "p4": 1 - chances[n],
            "p5": chances[n],
            "expected": 4 + chances[n],
        }
        for n, key in enumerate(keys)
    ]
    write_table(workspace.predictions, pa.Table.from_pylist(rows, PREDICTIONS))

    def ordered(order: str) -> list[int]:
        team.tool.database.write(lambda c: c.execute(projects.update().values(ordering=order)) and None)
        team.tool.take_in()
        return [row.tier for row in queue(team).values()]

    level5 = ordered("level5")
    assert level5[1] < level5[2] < level5[0]
    ann = team.member("ann")
    assert [item["id"] for item in ann.claim(3)] == [queue(team)[key].id for key in ("001", "002", "000")]
    uncertain = ordered("uncertain")
    assert uncertain[2] == min(uncertain)
    assert ordered("random") == [0, 0, 0]


def test_an_entry_test_without_enough_gold_is_told(tmp_path: Path) -> None:
    recipe = make_workspace(tmp_path, 2, annotation={"qualify": {"items": 2, "pass": 0.5}})
    team = make_team(recipe, f"sqlite:///{tmp_path / 'votes.db'}")
    assert team.member("ann").post("claim", wanted=1)["state"] == "no_gold"
    assert team.tool.lacking_gold().startswith("annotation.qualify: it asks for 2 gold images, and there are 0: ")
    team.tool.close()
