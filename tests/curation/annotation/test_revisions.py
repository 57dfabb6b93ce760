"""The newest of what was said on the same counts; the earlier stays on record, and nothing is added twice."""

from typing import Any

from curation.annotation.revisions import latest, revised


def row(item: str, who: str, score: int, **more: Any) -> dict[str, Any]:
    return {"item": item, "who": who, "score": score} | more


def test_a_later_row_replaces_and_the_same_is_not_added_again() -> None:
    slot, said = ("item", "who"), ("score",)
    first = revised([], [row("a", "ann", 1), row("a", "bo", 1), row("a", "ann", 1), row("a", "ann", 2)], slot, said)
    assert first == [row("a", "ann", 1, revision=1), row("a", "bo", 1, revision=1), row("a", "ann", 2, revision=2)]
    assert revised(first, [row("a", "ann", 2), row("a", "bo", 1)], slot, said) == []
    back = revised(first, [row("a", "ann", 1)], slot, said)
    assert back == [row("a", "ann", 1, revision=3)]
    assert latest([*first, *back], slot) == {("a", "ann"): back[0], ("a", "bo"): first[1]}
