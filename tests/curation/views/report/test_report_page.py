"""Texts on the page: what would not be seen is spelt out, and shares are never rounded to nothing or to all."""

import base64
import hashlib
import re

import pytest

from curation.views.report.page import render
from curation.views.report.wording import display_text, moment, share
from curation.workspace import Workspace
from curation.workspace.run_log import runs


@pytest.mark.parametrize(("text", "shown"), [
    (None, ""), ("plain 猫 \U0001f408\u200d\u2b1b", "plain 猫 \U0001f408\u200d\u2b1b"),
    ("a\u202eb\u2066c\x00d\x1b[31m", "a⟨U+202E⟩b⟨U+2066⟩c⟨U+0000⟩d⟨U+001B⟩[31m"),
    ("\u05e9\u05dc\u05d5\u05dd\n\tx", "\u05e9\u05dc\u05d5\u05dd\n\tx"), ("x" * 10_000, "x" * 600 + " … (10,000 characters)"),
])  # fmt: skip
def test_what_would_not_be_seen_is_spelt_out(text: str | None, shown: str) -> None:
    assert display_text(text) == shown


@pytest.mark.parametrize(("count", "total", "says"), [
    (0, 0, "0 %"), (0, 5, "0 %"), (5, 5, "100.0 %"), (1, 10**7, "< 0.01 %"), (10**7 - 1, 10**7, "> 99.99 %"),
    (1, 3, "33.3 %"), (996, 1000, "99.60 %"), (5, 1000, "0.50 %"),
])  # fmt: skip
def test_shares(count: int, total: int, says: str) -> None:
    assert share(count, total) == says


@pytest.mark.parametrize("seconds", [None, 1e300, -1e300])
def test_a_time_that_is_none(seconds: float | None) -> None:
    assert moment(seconds) == ""


def test_a_log_that_makes_no_sense_is_no_log(tmp_path) -> None:  # type: ignore[no-untyped-def]
    workspace = Workspace(tmp_path)
    assert runs(workspace) == []
    workspace.runs.parent.mkdir()
    workspace.runs.write_bytes(
        b'\xff\n{"stage": 3}\n{"stage": "index", "rows": true, "failed": [1], "seconds": "x"}\n{"st'
    )
    (run,) = runs(workspace)
    assert (run.stage, run.rows, run.seconds, run.failed, run.rate, run.signals) == ("index", None, None, 0, None, {})


def test_the_policy_names_the_scripts_of_the_page_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    template = '<meta content="{{ policy }}">{% for s in scripts %}<script>{{ s }}</script>{% endfor %}'
    monkeypatch.setattr("jinja2.FunctionLoader.get_source", lambda *_: (template, None, lambda: True))
    html = render()
    named = set(re.findall(r"sha256-([^&\s]+)&#39;", html))
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert {base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts} == named
    assert len(scripts) == 2
