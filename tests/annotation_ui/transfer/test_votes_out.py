"""Votes on their way out: the same content and the same bytes, nothing of the file lost, gold left out."""

import itertools
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import select, update

from annotation_ui.database.opening import shown_address
from annotation_ui.database.tables import items, votes
from annotation_ui.intake.gold import import_gold
from annotation_ui.queue.reassigning import retract_votes
from annotation_ui.settings import sqlite_file
from annotation_ui.task import FOLDER
from annotation_ui.transfer import ordered_votes
from annotation_ui.transfer import votes as transfer_votes
from annotation_ui.transfer.export import export
from annotation_ui.transfer.status import status_of
from curation.annotation.levels import counting_votes, read_votes
from curation.annotation.votes import import_votes
from curation.errors import StageError
from curation.recipe import Recipe
from curation.workspace import Workspace
from curation.workspace.files import footer, write_table
from curation.workspace.lock import lock
from curation.workspace.schemas import VOTES
from tests import bench, voted
from tests.databases import Cluster

CSV = """key,annotator,level,at,round
c/00000/0,Wang,5,2026-01-31T12:00:00.123456Z,1
c/00000/0,李雷,5,,1
c/00000/0,Zoë,4,2026-01-31T12:00:01.999999Z,1
c/00001/1,Wang,1,2026-01-31T12:00:02Z,1
c/00001/1,李雷,2,2026-01-31T12:00:03Z,2
c/00000/1,李雷,2,2026-01-31T12:00:03Z,1
c/00000/1,李雷,3,2026-01-31T12:00:04Z,1
"""


@pytest.fixture
def made(tmp_path: Path) -> Recipe:
    return voted.workspace(tmp_path)


def rows(made: Recipe) -> list[dict[str, Any]]:
    return read_votes(Workspace(made.workspace)).to_pylist()


def content(rows: list[dict[str, Any]]) -> list[Any]:
    return sorted((tuple(row.values()) for row in rows), key=repr)


def import_csv(made: Recipe, text: str = CSV) -> None:
    file = Path(made.workspace).parent / "votes.csv"
    file.write_text(text, encoding="utf-8")
    import_votes(bench.opened(made), file)


def exported(made: Recipe, clock: voted.Time | None = None) -> bytes:
    """Takes in, exports, and returns the bytes of the votes."""
    with voted.opened(made, clock) as tool:
        export(tool.database, tool.clock, made)
    return Workspace(made.workspace).votes.read_bytes()


def renew(made: Recipe) -> None:
    """Takes the database away."""
    for suffix in ("", "-wal", "-shm"):
        Path(f"{sqlite_file(made)}{suffix}").unlink(missing_ok=True)


def test_imported_votes_pass_through_the_database_unchanged(made: Recipe) -> None:
    import_csv(made)
    before, levels = content(rows(made)), Workspace(made.workspace).levels.read_bytes()
    with voted.opened(made) as tool:
        assert tool.database.read(lambda c: len(c.execute(select(votes.c.id)).all())) == 6
    first = exported(made)
    assert content(rows(made)) == before and Workspace(made.workspace).levels.read_bytes() == levels
    assert exported(made) == first
    renew(made)
    assert exported(made) == first


def test_own_votes_leave_with_their_times_and_come_back_into_a_fresh_database_byte_for_byte(made: Recipe) -> None:
    with voted.opened(made) as tool:
        voted.vote_all(tool, ["Wang", "李雷", "zoë", "Ann"], lambda key, name: 3 + (name == "Ann"))
        counts = export(tool.database, tool.clock, made)["levels"]
    assert counts == {"votes": 18, "decisions": 0, "images": 6,
                      "decided": 6, "tie": 0, "safety_review": 0, "incomplete": 0}  # fmt: skip
    table = read_votes(Workspace(made.workspace))
    ordered = [tuple(row[name] for name in ("key", "annotator", "round", "revision")) for row in table.to_pylist()]
    assert ordered == sorted(ordered)
    first = table.to_pylist()[0]
    assert (first["shown_ms"], first["decided_ms"], first["hidden_ms"], first["device"]) == (1200, 900, 0, "keyboard")
    begun = datetime.fromtimestamp(voted.START / 1000, UTC)
    assert begun < min(table["at"].to_pylist()) < max(table["at"].to_pylist()) < begun + timedelta(seconds=10)
    assert footer(Workspace(made.workspace).votes) == {"fingerprint": "", "rows": "18", "ordered_by": "key"}
    before = Workspace(made.workspace).votes.read_bytes()
    renew(made)
    assert exported(made) == before


def test_the_bytes_do_not_depend_on_how_many_votes_are_read_at_once(
    made: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_csv(made)
    with voted.opened(made) as tool:
        voted.vote_all(tool, ["Ann", "Bea", "Cyd"], lambda key, name: 4)
        export(tool.database, tool.clock, made)
    monkeypatch.setattr(transfer_votes, "ROW_GROUP", 4)
    whole = exported(made)
    for at_once in (1, 2, 3):
        monkeypatch.setattr(transfer_votes, "AT_ONCE", at_once)
        monkeypatch.setattr(ordered_votes, "AT_ONCE", at_once)
        assert exported(made) == whole
    assert pq.ParquetFile(Workspace(made.workspace).votes).num_row_groups == -(-len(rows(made)) // 4) > 3


def test_rows_that_the_database_does_not_hold_stay(made: Recipe) -> None:
    """Votes on images outside of the selection, of earlier rounds, and earlier revisions."""
    import_csv(made)
    stored = read_votes(Workspace(made.workspace))
    outside = [dict(stored.to_pylist()[0]) | {"key": key} for key in ("a/0/0", "c/00000/1x", "zz/1/1")]
    write_table(Workspace(made.workspace).votes, pa.concat_tables([stored, pa.Table.from_pylist(outside, VOTES)]))
    with voted.opened(made) as tool:
        voted.vote_all(tool, ["Ann", "Bea"], lambda key, name: 4)
        export(tool.database, tool.clock, made)
    found = {(row["key"], row["annotator"], row["round"], row["revision"]) for row in rows(made)}
    assert {("a/0/0", "Wang", 1, 1), ("c/00000/1x", "Wang", 1, 1), ("zz/1/1", "Wang", 1, 1)} < found
    assert {("c/00000/1", "李雷", 1, 1), ("c/00000/1", "李雷", 1, 2), ("c/00001/1", "李雷", 2, 1)} < found
    assert ("c/00001/2", "Ann", 1, 1) in found


def test_changes_and_withdrawals_are_revisions_and_what_is_set_aside_counts_no_more(made: Recipe) -> None:
    with voted.opened(made) as tool:
        first, second, third = voted.claim(tool, "Ann", wanted=3)
        for claimed in (first, second, third):
            voted.cast(tool, "Ann", claimed, level=4)
        voted.cast(tool, "Ann", first, revision=1, level=5)
        voted.withdraw(tool, "Ann", second, revision=1)
        export(tool.database, tool.clock, made)
        keys = [voted.item(tool, claimed.item_id).key for claimed in (first, second, third)]
    levels = {key: [row["level"] for row in rows(made) if row["key"] == key] for key in keys}
    assert levels == dict(zip(keys, ([4, 5], [4, None], [4]), strict=True))
    assert counting_votes(read_votes(Workspace(made.workspace)))["level"].to_pylist() == [
        {keys[0]: 5, keys[2]: 4}[key] for key in sorted((keys[0], keys[2]))
    ]
    with voted.opened(made) as tool:
        ann = voted.person(tool, "Ann")
        tool.database.write(lambda c: retract_votes(c, tool.clock, ann))
        export(tool.database, tool.clock, made)
    assert len(counting_votes(read_votes(Workspace(made.workspace)))) == 0 and len(rows(made)) == 7


def test_a_vote_after_a_withdrawal_that_only_the_file_knows_counts(made: Recipe) -> None:
    """In a fresh database the person's first revision is 1 again; the file has 1 and 2 already."""
    with voted.opened(made) as tool:
        (claimed,) = voted.claim(tool, "Ann", wanted=1)
        key = voted.item(tool, claimed.item_id).key
        voted.cast(tool, "Ann", claimed, level=2)
        voted.withdraw(tool, "Ann", claimed, revision=1)
    exported(made)
    renew(made)
    clock = voted.Time()
    clock.now += 60_000
    with voted.opened(made, clock) as tool:
        held = {voted.item(tool, c.item_id).key: c for c in voted.claim(tool, "Ann")}
        voted.cast(tool, "Ann", held[key], level=5)
        export(tool.database, tool.clock, made)
    assert [(row["revision"], row["level"]) for row in rows(made)] == [(1, 2), (2, None), (3, 5)]
    first = Workspace(made.workspace).votes.read_bytes()
    assert exported(made, clock) == first
    with voted.opened(made, clock) as tool:  # and one more revision goes on from there
        held = {voted.item(tool, c.item_id).key: c for c in voted.claim(tool, "Ann")}
        lease = tool.database.read(lambda c: c.exec_driver_sql("select item_id, lease from slots where level=5").one())
        voted.cast(tool, "Ann", voted.claiming.Claim(lease[0], lease[1], 0), revision=1, level=4)
        export(tool.database, tool.clock, made)
    assert [(row["revision"], row["level"]) for row in rows(made)] == [(1, 2), (2, None), (3, 5), (4, 4)]


def test_gold_is_not_exported(made: Recipe) -> None:
    file = Path(made.workspace).parent / "gold.csv"
    file.write_text("key,level\nc/00000/0,5\n")
    with voted.opened(made) as tool:
        import_gold(tool.database, tool.clock, tool.random, voted.project(tool), file, "lead")
        twin = tool.database.read(lambda c: c.execute(select(items.c.id).where(items.c.kind == "gold")).scalar_one())
        number, who = voted.project(tool), voted.person(tool, "Ann")
        rules = type(tool.rules[number])(gold=1.0)
        claimed = tool.database.write(
            lambda c: voted.claiming.claim(c, tool.clock, tool.random, rules, number, who, 1)
        ).claims[0]
        assert claimed.item_id == twin
        voted.cast(tool, "Ann", claimed, level=5)
        counts = export(tool.database, tool.clock, made)["levels"]
    assert counts["votes"] == 0 and counts["decisions"] == 1
    decided = bench.rows(Workspace(made.workspace).levels)
    assert [(row["key"], row["level"], row["decided_by"]) for row in decided] == [("c/00000/0", 5, "gold")]


def test_files_that_were_exported_are_not_taken_in_again(made: Recipe) -> None:
    import_csv(made)
    with voted.opened(made) as tool:
        voted.vote_all(tool, ["Ann"], lambda key, name: 4)
        export(tool.database, tool.clock, made)
        synced = tool.database.read(lambda c: c.exec_driver_sql("select synced from projects").scalar_one())
        assert str(os.stat(Workspace(made.workspace).votes).st_mtime_ns) in synced


def test_an_import_that_the_server_has_not_seen_reaches_the_database_before_the_export(made: Recipe) -> None:
    with voted.opened(made) as tool:
        import_csv(made)
        export(tool.database, tool.clock, made)
        assert {"Wang", "李雷", "Zoë"} <= set(voted.names(tool))
        assert tool.database.read(lambda c: len(c.execute(select(votes.c.id)).all())) == 6


def test_a_stage_that_writes_is_not_disturbed(made: Recipe) -> None:
    with voted.opened(made) as tool, lock(Workspace(made.workspace), "build-shards"):
        with pytest.raises(StageError, match="in use by curate build-shards"):
            export(tool.database, tool.clock, made)
    assert not Workspace(made.workspace).votes.exists()


def test_a_damaged_file_of_votes_is_left_alone(made: Recipe) -> None:
    with voted.opened(made) as tool:
        voted.vote_all(tool, ["Ann"], lambda key, name: 4)
        Workspace(made.workspace).votes.write_bytes(b"PAR1 and then nothing")
        with pytest.raises(StageError, match="votes.parquet is damaged; put the last copy of it in its place"):
            export(tool.database, tool.clock, made)
    assert Workspace(made.workspace).votes.read_bytes() == b"PAR1 and then nothing"


def test_keys_are_ordered_by_their_bytes_whatever_the_script(made: Recipe) -> None:
    """UTF-8 orders as code points do, UTF-16 does not: U+FF5E comes before U+1F600."""
    odd = ["c/00000/0", "c/00000/z", "c/00000/～", "c/00000/\U0001f600", "c/00000/é"]
    with voted.opened(made) as tool:
        voted.vote_all(tool, ["Ann", "Bea"], lambda key, name: 4)

        def rename(connection: Any) -> None:
            ids = connection.execute(select(items.c.id).order_by(items.c.id)).scalars().all()
            for number, key in zip(ids, odd, strict=False):
                connection.execute(update(items).where(items.c.id == number).values(key=key))

        tool.database.write(rename)
        with tool.database.reading() as connection:
            transfer_votes.write_votes(connection, Workspace(made.workspace), voted.project(tool))
        whole = Workspace(made.workspace).votes.read_bytes()
        with tool.database.reading() as connection:
            transfer_votes.write_votes(connection, Workspace(made.workspace), voted.project(tool))
    keys = [row["key"] for row in rows(made)]
    assert keys == sorted(keys) and len(keys) == 12 and set(odd) < set(keys)
    assert Workspace(made.workspace).votes.read_bytes() == whole


def on_postgresql(made: Recipe, cluster: Cluster) -> Recipe:
    """Returns the recipe with an empty database on PostgreSQL, which orders texts as a dictionary does."""
    name = f"dictionary{next(_databases)}"
    cluster.execute(f"CREATE DATABASE {name} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'")
    annotation = made.annotation.model_copy(update={"database": cluster.url(name)})
    return made.model_copy(update={"annotation": annotation})


_databases = itertools.count()


def test_postgresql_and_sqlite_give_the_same_bytes(
    made: Recipe, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer_votes, "AT_ONCE", 3)
    import_csv(made)
    there = on_postgresql(made, cluster)
    odd = ["c/00000/Z", "c/00000/_", "c/00000/a", "c/00000/é", "c/00000/é.x", "c/00000/王"]

    def rename(connection: Any) -> None:
        ids = connection.execute(select(items.c.id).order_by(items.c.id)).scalars().all()
        for number, key in zip(ids, odd, strict=True):
            connection.execute(update(items).where(items.c.id == number).values(key=key))

    with voted.opened(there) as tool:
        voted.vote_all(tool, ["Ann", "bea", "Ännchen"], lambda key, name: 4)
        export(tool.database, tool.clock, there)
        assert exported(made) == Workspace(made.workspace).votes.read_bytes()  # from the file alone, by SQLite
        assert exported(there) == exported(made) and len(rows(made)) > 18
        Workspace(made.workspace).votes.unlink()
        tool.database.write(rename)
        with tool.database.reading() as connection:
            transfer_votes.write_votes(connection, Workspace(made.workspace), voted.project(tool))
        counts = status_of(tool.database, shown_address(there))
    keys = [row["key"] for row in rows(made)]
    assert set(keys) == set(odd) and keys == sorted(keys)
    assert counts.projects[0].votes_cast == len(keys) and counts.projects[0].task == "levels"


def test_gold_and_verdicts_on_postgresql(made: Recipe, cluster: Cluster) -> None:
    file = Path(made.workspace).parent / "gold.csv"
    file.write_text("key,level\nc/00000/0,5\n")
    there = on_postgresql(made, cluster)
    for _ in range(2):
        with voted.opened(there) as tool:
            import_gold(tool.database, tool.clock, tool.random, voted.project(tool), file, "lead")
            tool.take_in()
            assert export(tool.database, tool.clock, there)["levels"]["decided"] == 1


def test_a_task_of_ones_own_on_the_same_images_does_not_mix_with_the_levels(
    made: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = (FOLDER / "levels.yaml").read_text(encoding="utf-8").replace("name: levels", "name: mood", 1)
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "mood.yaml").write_text(own, encoding="utf-8")
    monkeypatch.setenv("CURATE_TASKS", str(tmp_path / "tasks"))
    with voted.opened(made) as tool:
        (claimed,) = voted.claim(tool, "Ann", "mood", wanted=1)
        voted.cast(tool, "Ann", claimed, task="mood", level=2)
        (other,) = voted.claim(tool, "Ann", wanted=1)
        voted.cast(tool, "Ann", other, level=5)
        assert export(tool.database, tool.clock, made).keys() == {"levels"}
    assert [row["level"] for row in rows(made)] == [5]
