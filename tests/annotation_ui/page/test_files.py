"""The page's files: types, words, size, and what the server sends of them."""

import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from annotation_ui.app import PAGE
from annotation_ui.page_files import PageFile, without_comments
from tests.voting_page import Visit

TSC = shutil.which("tsc")
SCRIPTS = sorted(PAGE.glob("*.js"))
LARGEST = 30_000
"""Bytes, compressed by gzip, that a browser may load before the first picture."""
FROM_DATA = {
    *(f"{state}_{part}" for part in ("title", "text") for state in (
        "loading", "nothing", "paused", "failed", "no_gold", "offline", "no_project", "review_done", "elsewhere",
        "wrong")),
    *(f"settings_{name}" for name in ("blur", "shortcuts", "rest")), "theme_auto", "theme_light", "theme_dark",
    "refused_lease_lost", "refused_decided", "refused_changed", "refused_own_vote", "why_adjudication",
    "why_safety_review", "unreadable",
}  # fmt: skip
"""Keys of words that are put together from a name, such as that of a state."""


def words(language: str) -> dict[str, str]:
    """Returns the words of a language."""
    found = re.findall(r'(\w+): "((?:[^"\\]|\\.)*)"', (PAGE / f"words_{language}.js").read_text())
    assert len(found) == len(dict(found)) > 100
    return dict(found)


@pytest.mark.skipif(TSC is None, reason="needs Debian's package node-typescript")
def test_the_types_are_right() -> None:
    ended = subprocess.run([str(TSC), "-p", str(PAGE / "jsconfig.json")], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "")


def test_every_word_is_there_in_both_languages() -> None:
    english, chinese = words("en"), words("zh")
    assert english.keys() == chinese.keys()
    values = re.compile(r"\{\w+\}")
    for key, text in english.items():
        assert sorted(values.findall(text)) == sorted(values.findall(chinese[key])), key
        assert re.search(r"[\u4e00-\u9fff]", chinese[key]) or key == "other_language", key


def test_every_word_is_used_and_every_used_word_is_there() -> None:
    sources = [path for path in SCRIPTS if not path.stem.startswith("words")]
    text = "\n".join(path.read_text() for path in sources)
    attributes = re.findall(r'data-t(?:-label)?="(\w+)"', (PAGE / "index.html").read_text())
    asked = set(re.findall(r'\bt\("(\w+)"', text)) | set(attributes) | FROM_DATA
    assert asked <= words("en").keys()
    quoted = set(re.findall(r'"(\w+)"', text))
    assert words("en").keys() <= quoted | asked


def test_no_text_stands_in_the_document_or_in_a_script() -> None:
    texts: list[str] = []

    class Reader(HTMLParser):
        def handle_data(self, data: str) -> None:
            texts.append(data.strip())

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            names = {name for name, _ in attrs}
            assert not names & {"style", "onclick", "title", "placeholder", "alt"}, (tag, names)
            texts.extend(value or "" for name, value in attrs if name == "aria-label")

    Reader().feed((PAGE / "index.html").read_text())
    assert set(texts) - {"", "…"} == {"?", "Z", "S", "F"}  # names of keys are the same in all languages
    for path in SCRIPTS:
        if path.stem.startswith("words"):
            continue
        script = without_comments(path.read_text())
        strings = [
            s
            for s in re.findall(r'"((?:[^"\\\n]|\\.)*)"', script)
            if re.search(r"[a-z] [a-z]|[\u4e00-\u9fff]", s, re.I)
        ]
        allowed = re.compile(r"[a-z ]+|[#.\[][^A-Z]+|(?:input|button|dialog)[^A-Z]*|中文")  # class names, selectors
        assert [s for s in strings if not allowed.fullmatch(s)] == [], path.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|DOMParser", script), (
            path.name
        )


def test_what_is_sent_is_the_script_without_comments(tmp_path: Path) -> None:
    script = '/** Says. */\nexport const a = "/** no */"; // stays\n  // goes\n  /**\n   * Two.\n   */ b();\n'
    sent = without_comments(script)
    assert sent == '\nexport const a = "/** no */"; // stays\n\n\n\n b();\n'
    for path in SCRIPTS:
        lines, kept = path.read_text().splitlines(), without_comments(path.read_text()).splitlines()
        assert len(lines) == len(kept)
        assert all(k in ("", line) or line.endswith(k) for line, k in zip(lines, kept, strict=True)), path.name
        assert all(line.count("`") % 2 == 0 for line in lines), f"{path.name}: a string of several lines"
    (tmp_path / "a.js").write_text(script)
    assert PageFile.read(tmp_path / "a.js").content == sent.encode()


def test_a_browser_loads_little_and_nothing_twice(visit: Callable[..., Visit]) -> None:
    page = (reader := visit("size")).page
    loaded: dict[str, int] = {}

    def note(response: object) -> None:
        path = "/" + str(response.url).split("/", 3)[3].split("#")[0]  # type: ignore[attr-defined]
        if path == "/" or path.startswith("/page/"):
            assert response.headers["content-encoding"] == "gzip"  # type: ignore[attr-defined]
            loaded[path] = int(response.headers["content-length"])  # type: ignore[attr-defined]

    reader.context.clear_cookies()
    other = page.context.browser.new_context()
    fresh = other.new_page()
    fresh.on("response", note)
    fresh.goto(page.url)
    fresh.wait_for_selector("#signing[open]")
    other.close()
    first = {path for path in loaded if path != "/page/sign_in.js"}
    total = sum(loaded[path] for path in first)
    assert "/page/voting.js" in first and "/page/style.css" in first and total <= LARGEST, total


def test_the_server_sends_a_file_again_only_if_it_has_changed(visit: Callable[..., Visit]) -> None:
    reader = visit("again")
    request = reader.context.request
    address = reader.page.url + "page/app.js"
    answer = request.get(address)
    assert answer.status == 200 and answer.headers["vary"] == "Accept-Encoding"
    assert b"@param" not in answer.body()
    again = request.get(address, headers={"If-None-Match": answer.headers["etag"]})
    assert again.status == 304 and again.body() == b""
    assert request.get(reader.page.url + "page/types.d.ts").status == 404
