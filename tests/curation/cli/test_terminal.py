"""What the web has written cannot reach the terminal of whoever looks at it."""

import json
from pathlib import Path

import pytest

from curation.printing import plain
from curation.recipe import Recipe
from tests import bench
from tests.command import curate

HOSTILE = "x\x1b]0;owned\x07\x9b2J\u202egpj.exe\r<script>[b]"


@pytest.fixture
def made(tmp_path: Path) -> Recipe:
    members = {
        "0.jpg": bench.encoded(bench.picture(1)),
        "0.json": json.dumps({"caption": f"{HOSTILE}\nselection", HOSTILE: "y", "author": HOSTILE}).encode(),
        "\x1b[31m.jpg": bench.encoded(bench.picture(2))[:400],
    }
    bench.write_tar(tmp_path / "raw" / "00000.tar", members)
    (tmp_path / "raw" / "\x1b[2J.tar").write_bytes(b"no tar at all" * 100)
    return bench.recipe(tmp_path, max_failed_share=1.0)


def test_no_verb_prints_a_control_character_of_the_corpus(made: Recipe, tmp_path: Path) -> None:
    done = [curate("index", "recipe.yaml", cwd=tmp_path, status=None)]
    done += [curate("score", "recipe.yaml", cwd=tmp_path, status=None)]
    for sql in (
        "select * from images",
        f'select 1 as "{HOSTILE}"',
        f"select '{HOSTILE}'::integer",
        f'select "{HOSTILE}"',
    ):
        done.append(curate("query", "recipe.yaml", sql, cwd=tmp_path, status=None))
    done.append(curate("explain", "recipe.yaml", "c/00000/0", cwd=tmp_path))
    done += [curate("explain", "recipe.yaml", f"c/00000/{HOSTILE}", cwd=tmp_path, status=2)]
    done += [curate("query", "recipe.yaml", "select 1", f"--{HOSTILE}", cwd=tmp_path, status=2)]
    done += [curate(verb, "recipe.yaml", cwd=tmp_path, status=None) for verb in ("status", "doctor")]
    for told in done:
        assert plain(told.stdout + told.stderr) == told.stdout + told.stderr, told.args
    assert r"\x1b[2J" in done[0].stdout + done[0].stderr
    assert r"x\x1b]0;owned\x07\x9b2J\u202egpj.exe" in done[2].stdout + done[6].stdout
    assert "\nselection" not in done[6].stdout  # a caption cannot pass for a section


def test_json_is_json_without_control_characters(made: Recipe, tmp_path: Path) -> None:
    curate("index", "recipe.yaml", cwd=tmp_path, status=None)
    for arguments in (["index"], ["explain", "c/00000/0"], ["query", "select * from images"], ["status"], ["doctor"]):
        verb, *rest = arguments
        done = curate(verb, "recipe.yaml", *rest, "--json", cwd=tmp_path, status=None)
        json.loads(done.stdout)
        assert plain(done.stdout) == done.stdout
