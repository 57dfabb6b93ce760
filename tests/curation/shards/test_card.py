"""The dataset card: what came from the web stands in it as text."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from curation.annotation.levels import decide_levels
from curation.captions.stage import plan as plan_captions
from curation.selection.stage import Selection
from curation.shards.card import votes_section
from curation.shards.stage import finish, plan
from curation.tasks import Watch
from curation.workspace import Workspace
from curation.workspace.files import write_table
from curation.workspace.ledger import Ledger
from curation.workspace.schemas import DECISIONS, VOTES
from tests import bench

LICENCES = [
    "CC-BY 4.0",
    "a\rb\n\n# head | c",
    "<script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "![x](http://evil.example/p.png)",
    "<http://evil.example>",
    "`code` ``two`` \\` | \\| x",
    "</td></tr></table><img src=x onerror=alert(1)>",
    "&lt;b&gt; &#91;x](http://evil.example)",
    "__strong__ *em* ~~gone~~ some_word",
    "\x1b]0;title\x07 \u202egnp.exe",
]
"""One licence for each image, as a web corpus may state it."""


def card_of(folder: Path, predicate: str) -> str:
    members = {}
    for n, licence in enumerate(LICENCES):
        members[f"{n:02d}.jpg"] = bench.encoded(bench.picture(n))
        members[f"{n:02d}.json"] = json.dumps({"caption": f"text {n}", "license": licence}).encode()
    bench.write_tar(folder / "raw/00000.tar", members)
    made = bench.recipe(folder, select={"where": {"rule": predicate}})
    bench.index(made)
    bench.score(made)
    Selection(bench.opened(made)).write()
    for task in plan_captions(bench.opened(made)).tasks:
        task.run(Watch())
    plans = plan(bench.opened(made))
    ledger = Ledger(Workspace(made.workspace), "build-shards", writable=True)
    for task in [task for step in plans for task in step.stale]:
        ledger.add(task.corpus, task.shard, task.run(Watch()).line)
    finish(bench.opened(made), plans)
    return (folder / "work/shards/concept/README.md").read_text()


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> str:
    return card_of(tmp_path_factory.mktemp("card"), "width > 1 and '`|<b>' <> '[x](http://y.example)'")


def tokens(card: str) -> list[Token]:
    body = card.split("---\n", 2)[2]
    blocks = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(body)
    return [token for block in blocks for token in (block, *(block.children or []))]


def test_nothing_from_the_web_is_markup(card: str) -> None:
    kinds = {token.type for token in tokens(card)}
    assert kinds & {"table_open", "code_inline", "heading_open"}  # else nothing was parsed
    assert not kinds & {"link_open", "image", "html_inline", "html_block", "em_open", "strong_open", "s_open"}
    heads = [
        t.content for before, t in zip(tokens(card), tokens(card)[1:], strict=False) if before.type == "heading_open"
    ]
    assert "head | c" not in heads


def test_every_licence_is_one_row_that_shows_it(card: str) -> None:
    found = tokens(card)
    cells = [found[at + 1] for at, token in enumerate(found) if token.type == "td_open"]
    shown = ["".join(part.content for part in cell.children or []) for cell in cells]
    expected = {" ".join(licence.split()) for licence in LICENCES[:-1]} | {r"\x1b]0;title\x07 \u202egnp.exe"}
    pairs = list(zip(shown, shown[1:], strict=False))
    assert expected <= {licence for licence, count in pairs if count == "1"}  # the whole licence is in its own cell
    assert "width > 1 and '`|<b>' <> '[x](http://y.example)'" in {t.content for t in found if t.type == "code_inline"}


def test_no_address_becomes_a_link_and_no_control_character_is_written(card: str) -> None:
    table = card[card.index("| licence |") :]
    assert "://" not in table.split("\n\n")[0]
    assert all(character.isprintable() or character == "\n" for character in card)


def test_decisions_are_told_beside_what_votes_came_to(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert "Nobody has voted." in votes_section(workspace)
    votes = [{"key": key, "annotator": who, "level": level, "round": 1, "revision": 1}
             for key, levels in {"a": (5, 5, 4), "b": (2, 3, 4), "c": (3, 4, 5)}.items()
             for who, level in zip("xyz", levels, strict=True)]  # fmt: skip
    write_table(workspace.votes, pa.Table.from_pylist(votes, schema=VOTES))
    decide_levels(workspace, 3)
    assert "stands above the votes" not in votes_section(workspace)
    assert "| Level 5 | 1 |\n| tie | 2 |" in votes_section(workspace)
    verdict = {"key": "b", "level": 3, "kind": "adjudication", "annotator": "z"}
    write_table(workspace.decisions, pa.Table.from_pylist([verdict], schema=DECISIONS))
    decide_levels(workspace, 3)
    assert "One person's decision stands above the votes: adjudication 1." in votes_section(workspace)
    assert "| Level 5 | 1 |\n| Level 3 | 1 |\n| tie | 1 |" in votes_section(workspace)
