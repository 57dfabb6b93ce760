"""The newest of several judgements counts; the earlier ones stay on record, and nothing is added twice."""

from typing import Any

from curation.annotation.revisions import latest, revised


def row(item: str, who: str, score: int, **more: Any) -> dict[str, Any]:
    return {"item": item, "who": who, "score": score} | more


def test_a_later_row_replaces_and_the_same_is_not_added_again() -> None:
    unique_by, content = ("item", "who"), ("score",)
    first = revised(
        [], [row("a", "ann", 1), row("a", "bo", 1), row("a", "ann", 1), row("a", "ann", 2)], unique_by, content
    )
    assert first == [row("a", "ann", 1, revision=1), row("a", "bo", 1, revision=1), row("a", "ann", 2, revision=2)]
    assert revised(first, [row("a", "ann", 2), row("a", "bo", 1)], unique_by, content) == []
    back = revised(first, [row("a", "ann", 1)], unique_by, content)
    assert back == [row("a", "ann", 1, revision=3)]
    assert latest([*first, *back], unique_by) == {("a", "ann"): back[0], ("a", "bo"): first[1]}
