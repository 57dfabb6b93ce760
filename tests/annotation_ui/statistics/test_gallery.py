"""The gallery's pages, and an image's story."""

import pytest
from sqlalchemy import insert, select

from annotation_ui.database.engine import Database
from annotation_ui.database.tables import GOLD, decisions, slots, votes
from annotation_ui.queue.rules import Refused
from annotation_ui.statistics import gallery
from annotation_ui.statistics.gallery import Filter, Page
from annotation_ui.statistics.story import story
from tests.annotation_ui.made_up import NOW, by_hand, fill


def walk(database: Database, wanted: Filter, limit: int = 7) -> list[Page]:
    """All pages, one after the other."""
    pages, after = [], None
    while True:
        pages.append(database.read(lambda c: gallery.page(c, 1, wanted, after, limit)))  # noqa: B023
        after = pages[-1].next
        if after is None:
            return pages


def keys(database: Database, wanted: Filter) -> list[str]:
    return [item.key for page in walk(database, wanted) for item in page.items]


def test_each_filter_and_all_pages(database: Database) -> None:
    by_hand(database, {f"d{n:02d}": {"ann": 4, "bob": 5} for n in range(20)}, status="decided", level=4)
    by_hand(database, {f"t{n:02d}": {"ann": 1 + n % 3, "cid": 5} for n in range(9)}, status="tie")
    by_hand(database, {f"o{n:02d}": {} for n in range(5)})
    by_hand(database, {"g": {"ann": 3}}, kind=GOLD, known=3)
    decided, ties = [f"d{n:02d}" for n in range(20)], [f"t{n:02d}" for n in range(9)]
    ids = by_hand(database, {})
    assert keys(database, Filter()) == [*decided, *ties, *(f"o{n:02d}" for n in range(5))]
    assert keys(database, Filter(status="tie")) == ties
    assert keys(database, Filter(level=4)) == keys(database, Filter(status="decided", level=4)) == decided
    assert keys(database, Filter(status="open", level=4)) == []
    assert keys(database, Filter(spread=4)) == [key for n, key in enumerate(ties) if n % 3 == 0]
    assert keys(database, Filter(status="tie", spread=3)) == [key for n, key in enumerate(ties) if n % 3 < 2]
    assert keys(database, Filter(gold=True)) == ["g"]
    assert keys(database, Filter(gold=True, level=2)) == []
    assert sorted(keys(database, Filter(person_id=ids["cid"]))) == ties
    assert sorted(keys(database, Filter(person_id=ids["ann"], spread=4))) == [
        k for n, k in enumerate(ties) if n % 3 == 0
    ]
    assert sorted(keys(database, Filter(person_id=ids["ann"], level=4))) == decided
    assert sorted(keys(database, Filter(person_id=ids["bob"], status="tie"))) == []
    assert keys(database, Filter(person_id=ids["ann"], gold=True)) == ["g"]
    first = walk(database, Filter(status="tie"))[0].items[1]
    assert [(given.person, given.level) for given in first.votes] == [("ann", 2), ("cid", 5)]


def test_a_page_looks_at_a_bounded_number_of_images(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "LOOKED_AT", 10)
    fill(database, 120, annotators=4)
    everything = walk(database, Filter(), limit=5)
    assert sum(len(page.items) for page in everything) == 120
    none = walk(database, Filter(status="decided", spread=4))
    assert not any(page.items for page in none) and {page.looked_at for page in none[:-1]} == {10}
    own = [page for page in walk(database, Filter(person_id=2, spread=1))]
    shown = [item for page in own for item in page.items]
    assert len({item.id for item in shown}) == len(shown) > 10
    assert all("annotator 01" in [given.person for given in item.votes] for item in shown)
    wanted = select(slots.c.item_id).where(slots.c.person_id == 2, slots.c.state == "voted", slots.c.item_id <= 120)
    mine = set(database.read(lambda c: c.execute(wanted).scalars().all()))
    listed = [item.id for page in walk(database, Filter(person_id=2)) for item in page.items]
    assert set(listed) == mine and len(listed) == len(mine)


def test_the_story_of_an_image(database: Database) -> None:
    ids = by_hand(database, {"a": {"ann": 5, "bob": 1}}, status="decided", level=2, asked=3)
    by_hand(database, {"a": {}}, kind=GOLD, known=2)
    change = {"item_id": ids["a"], "person_id": ids["ann"], "revision": 2, "level": 4, "at": NOW + 9, "device": "touch"}
    verdict = {
        "item_id": ids["a"],
        "level": 2,
        "kind": "safety_review",
        "person_id": ids["bob"],
        "at": NOW,
        "note": "x",
    }
    cid = by_hand(database, {"z": {"cid": 2}})["cid"]
    skip = {"item_id": ids["a"], "person_id": cid, "slot": None, "asked": 3, "state": "skipped", "lease": "", "changed_at": NOW, "reason": "unsure"}  # fmt: skip
    database.write(
        lambda c: (
            c.execute(insert(votes), change),
            c.execute(insert(decisions), verdict),
            c.execute(insert(slots), skip),
        )
    )
    told = database.read(lambda c: story(c, ids["a"]))
    assert [(vote.person, vote.revision, vote.level) for vote in told.votes] == [
        ("ann", 1, 5),
        ("bob", 1, 1),
        ("ann", 2, 4),
    ]
    assert told.votes[-1].device == "touch" and told.votes[0].shown_ms == 1000
    assert [(part.person, part.state, part.reason) for part in told.parts] == [("cid", "skipped", "unsure")]
    assert told.verdict is not None and (told.verdict.person, told.verdict.note) == ("bob", "x")
    assert (told.key, told.gold, told.level, told.corpus) == ("a", "open", 2, "made")
    with pytest.raises(Refused):
        database.read(lambda c: story(c, 9999))
