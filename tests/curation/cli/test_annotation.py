"""The verbs of `curate annotate` as a user runs them."""

import json
import re
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from annotation_ui.settings import address_file, sqlite_file
from curation.recipe import Recipe
from curation.workspace import Workspace
from tests import bench, voted
from tests.annotation_ui.intake.test_rating_list import rate
from tests.command import ROOT, curate, environment, started

VERBS = ["serve", "invite", "revoke", "import", "export", "backup", "status", "ratings"]
VOTES = "key,annotator,level\n" + "".join(f"c/00000/0,{name},5\n" for name in ("Ann", "Bea", "王芳"))


@pytest.fixture
def made(tmp_path: Path) -> Recipe:
    return voted.workspace(tmp_path)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_shows_an_example(verb: str, tmp_path: Path) -> None:
    said = " ".join(curate("annotate", verb, "--help", cwd=tmp_path).stdout.split())
    assert f"Example: curate annotate {verb} my-set.yaml" in said


def test_votes_go_in_by_a_file_and_out_again(made: Recipe, tmp_path: Path) -> None:
    (tmp_path / "votes.csv").write_text(VOTES)
    assert "database" not in curate("annotate", "import", "recipe.yaml", "votes.csv", cwd=tmp_path).stdout
    assert not sqlite_file(made).exists()
    before = bench.rows(Workspace(made.workspace).votes)
    with voted.opened(made):
        pass
    (tmp_path / "more.csv").write_text("key,annotator,level\nc/00001/1,Ann,2\n")
    said = curate("annotate", "import", "recipe.yaml", "more.csv", cwd=tmp_path).stdout
    assert "the votes are in the voting tool's database too" in said
    status = json.loads(curate("annotate", "status", "recipe.yaml", "--json", cwd=tmp_path).stdout)
    assert status["projects"][0]["votes_cast"] == 4 and status["people"] == {"annotator": 3}
    done = json.loads(curate("annotate", "export", "recipe.yaml", "--json", cwd=tmp_path).stdout)
    assert done["levels"]["votes"] == 4 and done["levels"]["decided"] == 1 and done["ok"]
    after = bench.rows(Workspace(made.workspace).votes)
    assert [row for row in after if row["key"] == "c/00000/0"] == before
    assert "levels: votes 4" in curate("annotate", "export", "recipe.yaml", cwd=tmp_path).stdout


def test_a_correction_from_a_file_comes_after_what_was_voted_in_the_tool(made: Recipe, tmp_path: Path) -> None:
    with voted.opened(made) as tool:
        first = next(c for c in voted.claim(tool, "Ann") if voted.item(tool, c.item_id).key == "c/00000/0")
        voted.cast(tool, "Ann", first, level=4)
    (tmp_path / "more.csv").write_text("key,annotator,level\nc/00000/0,Ann,2\n")
    curate("annotate", "import", "recipe.yaml", "more.csv", cwd=tmp_path)
    with sqlite3.connect(sqlite_file(made)) as connection:
        assert connection.execute("select level from slots where state = 'voted'").fetchall() == [(2,)]
    for _ in range(2):
        curate("annotate", "export", "recipe.yaml", cwd=tmp_path)
        levels = [(row["revision"], row["level"]) for row in bench.rows(Workspace(made.workspace).votes)]
        assert levels == [(1, 4), (2, 2)]


def test_known_levels_are_counted_and_a_wrong_key_is_one_line(made: Recipe, tmp_path: Path) -> None:
    (tmp_path / "gold.csv").write_text("key,level\nc/00000/0,5\n")
    arguments = ("annotate", "import", "recipe.yaml", "gold.csv", "--gold")
    assert "gold 1, new 1" in curate(*arguments, cwd=tmp_path).stdout
    found = json.loads(curate(*arguments, "--by", "Prof. Li", "--json", cwd=tmp_path).stdout)
    assert found["gold"] == {"gold": 1, "new": 0, "changed": 0, "verdicts_left": 0}
    (tmp_path / "gold.csv").write_text("key,level\nc/00000/9,5\n")
    done = curate(*arguments, cwd=tmp_path, status=2)
    assert done.stderr.count("\n") == 1 and 'gold.csv: line 2: key: "c/00000/9"' in done.stderr


def test_a_person_is_invited_and_revoked(made: Recipe, tmp_path: Path) -> None:
    arguments = ("annotate", "invite", "recipe.yaml", "王 芳", "--role", "reviewer")
    found = json.loads(curate(*arguments, "--url", "https://a.example/", "--json", cwd=tmp_path).stdout)
    assert re.fullmatch(r"https://a\.example/#join=[\w-]{32}", found["link"]) and found["name"] == "王 芳"
    with sqlite3.connect(sqlite_file(made)) as connection:
        assert connection.execute("select name, role from people").fetchall() == [("王 芳", "reviewer")]
        assert connection.execute("select count(*) from links").fetchone() == (1,)
    assert "http://127.0.0.1:8765/#join=" in curate(*arguments[:4], cwd=tmp_path).stdout
    address_file(made).write_text("https://annotate.example.org\n")  # as a server does that was started with --url
    assert "https://annotate.example.org/#join=" in curate(*arguments[:4], cwd=tmp_path).stdout
    address_file(made).unlink()
    with voted.opened(made) as tool:
        voted.claim(tool, "王 芳", wanted=2)
    curate("annotate", "revoke", "recipe.yaml", "王 芳", cwd=tmp_path)
    with sqlite3.connect(sqlite_file(made)) as connection:
        assert connection.execute("select state, count(*) from slots").fetchall() == [("returned", 2)]
        assert connection.execute("select role, revoked_at is null from people").fetchall() == [("reviewer", 0)]
        assert connection.execute("select count(*) from links").fetchone() == (0,)


@pytest.mark.parametrize(("arguments", "says"), [
    (("invite", "recipe.yaml", "Ann", "--role", "boss"), 'curate: role: there is no "boss"; expected one of annotator'),
    (("invite", "recipe.yaml", "\x1b[2JAnn"), "name: expected 1 to 60 printable characters"),
    (("invite", "recipe.yaml", "  "), "curate: name: expected 1 to 60 printable characters"),
    (("invite", "recipe.yaml", "a\u202eb"), "name: expected 1 to 60 printable characters"),
    (("serve", "recipe.yaml", "--host", "0.0.0.0"), "say by --url how people reach it"),
    (("serve", "recipe.yaml", "--url", "ftp://x"), "--url ftp://x: expected an address"),
    (("status", "recipe.yaml"), "nobody votes here yet"),
    (("export", "recipe.yaml"), "nobody votes here yet"),
    (("revoke", "recipe.yaml", "Ann"), "nobody votes here yet"),
    (("backup", "recipe.yaml", "copy"), "there is no database yet"),
    (("ratings", "recipe.yaml"), "there are no ratings yet"),
    (("status", "recipe.yaml", "--set", "annotation.database=mysql://x/y"), "annotation.database: expected sqlite"),
    (("status", "none.yaml"), "no such recipe"),
])  # fmt: skip
def test_a_mistake_is_one_line(made: Recipe, tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    done = curate("annotate", *arguments, cwd=tmp_path, status=2)
    assert says in done.stderr and done.stderr.count("\n") == 1 and "\x1b" not in done.stderr
    assert not (tmp_path / "copy").exists()


def test_an_unknown_person_cannot_be_revoked_and_the_nearest_is_named(made: Recipe, tmp_path: Path) -> None:
    curate("annotate", "invite", "recipe.yaml", "Annette", cwd=tmp_path)
    done = curate("annotate", "revoke", "recipe.yaml", "Anette", cwd=tmp_path, status=2)
    assert done.stderr == 'curate: name: there is no "Anette"; did you mean "Annette"?\n'


def test_a_copy_is_made_once(made: Recipe, tmp_path: Path) -> None:
    curate("annotate", "invite", "recipe.yaml", "Ann", cwd=tmp_path)
    assert "nothing has been given to vote on yet" in curate("annotate", "export", "recipe.yaml", cwd=tmp_path).stdout
    assert "copy.sqlite: " in curate("annotate", "backup", "recipe.yaml", "copy.sqlite", cwd=tmp_path).stdout
    with sqlite3.connect(tmp_path / "copy.sqlite") as connection:
        assert connection.execute("select name from people").fetchall() == [("Ann",)]
    done = curate("annotate", "backup", "recipe.yaml", "copy.sqlite", cwd=tmp_path, status=2)
    assert "it is there already" in done.stderr


def test_the_table_of_ratings(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("prompt,image,model\na dog,1.png,kolors\na dog,2.png,other\n")
    for name in ("1", "2"):
        (tmp_path / f"{name}.png").write_bytes(bench.encoded(bench.picture(int(name)), "PNG"))
    made = voted.workspace(tmp_path, annotation={"ratings": "list.csv"})
    with voted.opened(made) as tool:
        rate(tool, "Ann", {"kolors": 5, "other": 2})
    assert "rating: ratings 2" in curate("annotate", "export", "recipe.yaml", cwd=tmp_path).stdout
    said = curate("annotate", "ratings", "recipe.yaml", cwd=tmp_path).stdout
    assert "Visual appeal" in said and re.search(r"kolors +1 +1 +5\.00", said)
    assert (
        "| kolors | 1 | 1 | 5.00 |" in curate("annotate", "ratings", "recipe.yaml", "--markdown", cwd=tmp_path).stdout
    )
    found = json.loads(curate("annotate", "ratings", "recipe.yaml", "--json", cwd=tmp_path).stdout)
    assert [row["model"] for row in found["rows"]] == ["kolors", "other"]


@pytest.mark.parametrize("verb", ["status", "invite", "serve"])
def test_a_verb_of_the_tool_imports_nothing_heavy(made: Recipe, tmp_path: Path, verb: str) -> None:
    """The server lives for weeks beside training jobs; it is stopped here where it begins to listen."""
    curate("annotate", "invite", "recipe.yaml", "Ann", cwd=tmp_path)
    more = {"invite": ["Bea"], "serve": ["--port", "0"]}.get(verb, [])
    code = (
        f"import sys; from curation.cli import main; sys.argv = ['curate', 'annotate', '{verb}', 'recipe.yaml', *{more}]\n"
        "if sys.argv[2] == 'serve':\n"
        "    import uvicorn; uvicorn.Server.run = lambda *a, **k: None\n"
        "    from annotation_ui.tool import Tool; Tool.keep_up = lambda *a: None\n"
        "try: main()\nexcept SystemExit as end: print('ENDED', end.code)\n"
        "heavy = {'torch', 'cv2', 'duckdb', 'ray', 'transformers', 'pandas', 'rich', 'pyarrow'}\n"
        "print('LOADED', sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60
    )
    assert "ENDED 0" in done.stdout, done.stdout + done.stderr
    assert "LOADED []" in done.stdout


@pytest.mark.slow
def test_serving_until_it_is_interrupted(made: Recipe, tmp_path: Path) -> None:
    server = started(
        "annotate", "serve", "recipe.yaml", "--port", "0", cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert server.stdout is not None
        link = re.search(r"http://127\.0\.0\.1:\d+/#join=\S+", server.stdout.readline())
        assert link
        with urllib.request.urlopen(link[0].split("#")[0], timeout=20) as answer:
            assert answer.status == 200 and b"<html" in answer.read()
        time.sleep(0.2)
    finally:
        server.send_signal(signal.SIGINT)
        _, errors = server.communicate(timeout=30)
    own = [
        line for line in errors.splitlines() if "overage" not in line and "self.warn" not in line
    ]  # where lines are counted
    assert not any("Traceback" in line or str(ROOT) in line for line in own)
