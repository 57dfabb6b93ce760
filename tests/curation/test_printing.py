"""No text moves the cursor of the terminal: all output goes through one place, which escapes it."""

import ast
import json
import sys

import pytest

from curation.printing import plain, show, show_json, tell, tell_traceback
from tests.command import ROOT

HOSTILE = "a\x1b[2J\x1b]52;c;eA==\x07\x9b31m\u202egnp\x7f\r\0\ud800 狗\u2067"
SAFE = r"a\x1b[2J\x1b]52;c;eA==\x07\x9b31m\u202egnp\x7f\r\x00\ud800 狗\u2067"


def test_controls_marks_of_direction_and_surrogates_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    show(HOSTILE)
    tell(HOSTILE)
    assert capsys.readouterr() == (SAFE + "\n", SAFE + "\n")
    assert plain("two\tcolumns\nand 两行") == "two\tcolumns\nand 两行"


def test_json_stays_json_and_means_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    show_json({HOSTILE: [HOSTILE, 1, None]})
    shown = capsys.readouterr().out
    assert json.loads(shown) == {HOSTILE: [HOSTILE, 1, None]}
    assert plain(shown) == shown and "狗" in shown


def test_an_error_that_nobody_expected_is_escaped_too(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        kind, error, trace = sys.exc_info()
    assert kind and error
    tell_traceback(kind, error, trace)
    shown = capsys.readouterr().err
    assert plain(shown) == shown and "ValueError: a\\x1b[2J" in shown


def test_nothing_else_prints() -> None:
    """Rich draws the tables and the bar of progress, from text that is escaped where it is given to it."""
    found = set()
    for package in ("curation", "pipelines"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
                if called in ("print", "typer.echo", "typer.secho", "sys.stdout.write", "sys.stderr.write", "pprint"):
                    found.add(str(path.relative_to(ROOT)))
                elif called.endswith(".print"):
                    found.add(f"{path.relative_to(ROOT)} by rich")
    assert found == {
        "curation/printing.py", "curation/cli/terminal.py by rich", "pipelines/progress.py by rich",
    }  # fmt: skip
