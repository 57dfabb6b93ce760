"""The errors of a run: what they say, what is read back of them, and their way from one process to another."""

import ast
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

import curation
from curation.errors import RowError, UnknownColumn, UserError, reason_of
from curation.images import ImageError, decode

ROW_ERRORS = [
    RowError("unreadable"),
    RowError("unreadable", "no route to host", transient=True),
    ImageError("truncated", "premature end of JPEG file: 3 of 9 rows"),
    RowError("error", "ValueError: a: b"),
    RowError("needs_photo", str(RowError("corrupt", "bad Huffman code"))),
]


@pytest.mark.parametrize("error", ROW_ERRORS, ids=str)
def test_the_stored_text_gives_the_reason_back(error: RowError) -> None:
    assert str(error) == (f"{error.reason}: {error.detail}" if error.detail else error.reason)
    assert reason_of(str(error)) == error.reason


@pytest.mark.parametrize("error", ROW_ERRORS, ids=str)
def test_a_row_error_is_the_same_in_another_process(error: RowError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) and str(again) == str(error)
    assert (again.reason, again.detail, again.transient) == (error.reason, error.detail, error.transient)


def test_what_costs_one_row_is_permanent_unless_it_says_otherwise() -> None:
    with pytest.raises(RowError) as caught:
        decode(b"no image")
    assert not caught.value.transient and caught.value.reason == "not_an_image"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UserError("the predicate is empty", "select.where.sharp"), "select.where.sharp: the predicate is empty"),
        (UserError("raw/a.csv: no such file"), "raw/a.csv: no such file"),
        (UnknownColumn("sharpnes", 'there is no column "sharpnes"', "select.where.a"), "select.where.a: there is no c"),
    ],
)
def test_a_user_error_begins_with_its_key_in_any_process(error: UserError, said: str) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert str(error).startswith(said) and str(again) == str(error)
    assert (type(again), again.key, again.detail) == (type(error), error.key, error.detail)
    assert getattr(again, "column", None) == getattr(error, "column", None)


def test_every_reason_is_one_word() -> None:
    reasons = [reason for file in Path(curation.__file__).parent.rglob("*.py") for reason in _reasons(file)]
    assert {"too_large", "truncated", "duplicate_member", "not_finite", "unreadable", "changed", "timeout"} <= set(
        reasons
    )
    assert [reason for reason in reasons if not reason.isidentifier()] == []


def _reasons(file: Path) -> Iterator[str]:
    """The reasons that stand in a file's calls of the errors that cost one row; what is put in counts as a word."""
    for node in ast.walk(ast.parse(file.read_text())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("RowError", "ImageError", "Failure")
            and node.args
        ):
            yield from _texts(node.args[0])


def _texts(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.IfExp):
        yield from _texts(node.body)
        yield from _texts(node.orelse)
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
