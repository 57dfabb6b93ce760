"""Levels: majority of three, a tie stays a tie, any Level 1 is a safety review, and a decision stands above votes."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curation.annotation.levels import counting_votes, decide_levels, levels_of, read_votes, vote_counts
from curation.annotation.majority import STATUSES, outcomes
from curation.workspace import Workspace
from curation.workspace.files import fingerprint, read_table, write_table
from curation.workspace.schemas import DECISIONS, LEVELS, VOTES

Record = dict[str, Any]
START = datetime(2026, 1, 1, tzinfo=UTC)


def votes_table(votes: list[Record]) -> pa.Table:
    return pa.Table.from_pylist([{"round": 1, "revision": 1} | vote for vote in votes], schema=VOTES)


def votes_on(key: str, *levels: int | None) -> list[Record]:
    return [{"key": key, "annotator": f"a{n}", "level": level} for n, level in enumerate(levels)]


def decided(votes: list[Record], decisions: list[Record] | None = None, asked: int = 3) -> list[Record]:
    found = pa.Table.from_pylist(decisions, schema=DECISIONS) if decisions is not None else None
    return levels_of(votes_table(votes), found, asked).to_pylist()


# --- By plain Python --------------------------------------------------------------------------------------------------


def by_hand(votes: list[Record], decisions: list[Record], asked: int) -> list[Record]:
    """The levels, one image at a time."""
    latest: dict[Any, Record] = {}
    for vote in votes:
        subject = (vote["key"], vote["annotator"], vote["round"])
        if subject not in latest or vote["revision"] >= latest[subject]["revision"]:
            latest[subject] = vote
    levels: dict[str, list[int]] = {}
    for vote in latest.values():
        if vote["level"] is not None:
            levels.setdefault(vote["key"], []).append(vote["level"])
    verdicts: dict[str, Record] = {}
    for decision in sorted(decisions, key=lambda decision: decision["at"] or datetime.min.replace(tzinfo=UTC)):
        verdicts[decision["key"]] = decision
    verdicts = {key: decision for key, decision in verdicts.items() if decision["level"] is not None}
    return [
        {"key": key, "votes": len(levels.get(key, [])), "agreement": agreement_of(levels.get(key, []))}
        | (
            {"level": verdicts[key]["level"], "status": "decided", "decided_by": verdicts[key]["kind"]}
            if key in verdicts
            else by_majority(levels[key], asked)
        )
        for key in sorted(levels.keys() | verdicts.keys())
    ]


def by_majority(levels: list[int], asked: int) -> Record:
    level, count = Counter(levels).most_common(1)[0]
    if 1 in levels:
        return {"level": None, "status": "safety_review", "decided_by": None}
    if len(levels) < asked:
        return {"level": None, "status": "incomplete", "decided_by": None}
    if 2 * count > len(levels):
        return {"level": level, "status": "decided", "decided_by": "majority"}
    return {"level": None, "status": "tie", "decided_by": None}


def agreement_of(levels: list[int]) -> float | None:
    pairs = [a == b for n, a in enumerate(levels) for b in levels[:n]]
    return sum(pairs) / len(pairs) if pairs else None


def some_votes(chance: random.Random, images: int) -> tuple[list[Record], list[Record]]:
    """Votes in any order with revisions, withdrawals and rounds, and decisions on images with and without votes."""
    keys = [f"c/{chance.choice(('0', '1', 'é', '図', '𝄞'))}/{n}" for n in range(images)]
    votes = []
    for key in keys:
        likely = chance.randint(1, 5)
        for n in range(chance.randint(0, 5)):
            who = {"key": key, "annotator": f"a{(n * 7 + len(key)) % 9}", "round": chance.choice((1, 1, 1, 2, 999))}
            for revision in range(1, chance.choice((1, 1, 1, 2, 4)) + 1):
                near = min(5, max(1, likely + chance.choice((-1, 0, 0, 0, 1))))
                level = chance.choices((near, chance.randint(2, 5), None), (6, 3, 1))[0]
                votes.append(who | {"level": level, "revision": revision})
    chance.shuffle(votes)
    decisions = [
        {"key": key, "level": chance.choice((1, 2, 3, 4, 5, 5, None)), "annotator": "z", "note": None,
         "kind": chance.choice(("adjudication", "safety_review", "gold")),
         "at": chance.choice((None, START + timedelta(seconds=chance.randint(0, 3))))}
        for key in chance.choices(keys, k=images // 4)
    ]  # fmt: skip
    return votes, decisions


@pytest.mark.parametrize("seed", range(12))
def test_the_levels_are_those_that_one_image_at_a_time_gives(seed: int) -> None:
    chance = random.Random(seed)
    votes, decisions = some_votes(chance, images=400)
    found = decided(votes, decisions, asked=(3, 5, 1)[seed % 3])
    expected = by_hand(votes, decisions, asked=(3, 5, 1)[seed % 3])
    assert {row["status"] for row in expected} >= {"decided", "tie", "safety_review"}
    assert [row | {"agreement": pytest.approx(row["agreement"], rel=1e-6)} for row in expected] == found
    assert [row["key"] for row in found] == sorted(row["key"] for row in found)


# --- Case by case -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("levels", "level", "status"), [
    ([5, 5, 5], 5, "decided"), ([5, 5, 3], 5, "decided"), ([2, 4, 4], 4, "decided"),
    ([3, 4, 5], None, "tie"), ([2, 3, 5], None, "tie"),
    ([1, 5, 5], None, "safety_review"), ([1], None, "safety_review"), ([1, 1, 1], None, "safety_review"),
    ([5, 5], None, "incomplete"), ([5, None, 5], None, "incomplete"), ([1, None], None, "safety_review"),
    ([5, 5, 3, 3], None, "tie"), ([5, 5, 5, 3], 5, "decided"), ([5, 5, 4, 3], None, "tie"),
])  # fmt: skip
def test_what_votes_come_to(levels: list[int | None], level: int | None, status: str) -> None:
    (row,) = decided(votes_on("c/0/a", *levels))
    assert (row["level"], row["status"]) == (level, status)
    assert row["decided_by"] == ("majority" if level else None)


def test_what_no_votes_come_to() -> None:
    level, status = outcomes(np.zeros((1, 5), np.int64), asked=3)
    assert (level.tolist(), [STATUSES[n] for n in status]) == ([0], ["incomplete"])


@pytest.mark.parametrize(("levels", "share"), [([5, 5, 5], 1.0), ([5, 5, 3], 1 / 3), ([3, 4, 5], 0.0), ([5], None)])
def test_agreement_is_the_share_of_equal_pairs(levels: list[int], share: float | None) -> None:
    assert decided(votes_on("c/0/a", *levels))[0]["agreement"] == pytest.approx(share)


def test_nobody_has_voted() -> None:
    found = levels_of(VOTES.empty_table(), None, 3)
    assert found.equals(LEVELS.empty_table())


def test_an_image_all_of_whose_votes_are_withdrawn_is_as_one_without_votes() -> None:
    votes = votes_on("c/0/a", 4) + [votes_on("c/0/a", None)[0] | {"revision": 2}]
    assert decided(votes) == []
    assert decided(votes, [{"key": "c/0/a", "level": 2, "kind": "gold"}]) == [
        {"key": "c/0/a", "level": 2, "status": "decided", "decided_by": "gold", "votes": 0, "agreement": None}]  # fmt: skip


def test_the_newest_revision_counts_wherever_it_stands() -> None:
    old, new = votes_on("c/0/a", 2)[0] | {"revision": 1}, votes_on("c/0/a", 5)[0] | {"revision": 2}
    for votes in ([old, new], [new, old]):
        assert decided(votes, asked=1)[0]["level"] == 5
        assert counting_votes(votes_table(votes)).to_pylist()[0]["revision"] == 2
        assert vote_counts(votes_table(votes)).tolist() == [[0, 0, 0, 0, 1]]


def test_the_latest_decision_counts_until_it_is_taken_back() -> None:
    votes = votes_on("c/0/a", 1, 5, 5)
    first = {"key": "c/0/a", "level": 5, "kind": "safety_review", "at": START}
    second = first | {"level": 1, "at": START + timedelta(hours=1)}
    back = second | {"level": None, "at": START + timedelta(hours=2)}
    assert [(row["level"], row["decided_by"]) for row in decided(votes, [second, first])] == [(1, "safety_review")]
    assert [(row["level"], row["status"]) for row in decided(votes, [back, second, first])] == [(None, "safety_review")]


# --- On file ----------------------------------------------------------------------------------------------------------


def test_levels_are_written_when_they_change_and_only_then(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert decide_levels(workspace, 3).num_rows == 0 and not workspace.levels.exists()
    write_table(workspace.votes, votes_table(votes_on("c/0/a", 2, 3, 4)))
    decide_levels(workspace, 3)
    assert read_table(workspace.levels)["status"].to_pylist() == ["tie"] and fingerprint(workspace.levels) == ""
    written = workspace.levels.stat().st_mtime_ns
    decide_levels(workspace, 3)
    assert workspace.levels.stat().st_mtime_ns == written
    decision = {"key": "c/0/a", "level": 4, "kind": "adjudication", "annotator": "z"}
    write_table(workspace.decisions, pa.Table.from_pylist([decision], schema=DECISIONS))
    assert decide_levels(workspace, 3).to_pylist() == read_table(workspace.levels).to_pylist()
    assert read_table(workspace.levels)["level"].to_pylist() == [4]


def test_the_file_has_the_bytes_of_a_table_made_row_by_row(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    votes, _ = some_votes(random.Random(5), images=3000)
    write_table(workspace.votes, votes_table(votes))
    decide_levels(workspace, 3)
    write_table(tmp_path / "by_hand.parquet", pa.Table.from_pylist(by_hand(votes, [], 3), schema=LEVELS))
    assert workspace.levels.read_bytes() == (tmp_path / "by_hand.parquet").read_bytes()


def test_decisions_without_votes_give_levels(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    write_table(workspace.decisions, pa.Table.from_pylist([{"key": "k", "level": 2, "kind": "gold"}], schema=DECISIONS))
    assert decide_levels(workspace, 3)["decided_by"].to_pylist() == ["gold"]


def test_votes_that_were_written_before_there_were_all_columns_are_read(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    old = votes_table(votes_on("c/0/a", 4, 4, 4)).select(["key", "annotator", "level", "round", "at", "revision"])
    write_table(workspace.votes, old)
    found = read_votes(workspace)
    assert found.schema.equals(VOTES) and found["device"].null_count == 3 and found.select(old.column_names).equals(old)
    assert decide_levels(workspace, 3)["level"].to_pylist() == [4]
