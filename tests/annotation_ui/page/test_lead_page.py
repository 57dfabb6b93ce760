"""The lead's page: its files, and in a browser what a lead sees and does."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from annotation_ui.accounts.people import invite
from annotation_ui.app import PAGE
from annotation_ui.clock import system_clock
from annotation_ui.database.tables import GOLD, items, people, projects, sessions
from annotation_ui.page_files import PageFile
from curation.selection.stage import Selection
from tests import bench
from tests.annotation_ui.made_up import fill
from tests.annotators import Server, database_of
from tests.voting_page import Site

LEAD = PAGE / "lead"
SCRIPTS = sorted(LEAD.glob("*.js"))
FIRST, LARGEST = 16_000, 23_000
"""Bytes, compressed by gzip, of what comes before the first view, and of all views in one language, beside what is
shared with the voting page."""
VIEWS = ("progress", "agreement", "people", "images", "log")
Open = Callable[..., Any]


def words(language: str) -> dict[str, str]:
    found = re.findall(r'(\w+): "((?:[^"\\]|\\.)*)"', (LEAD / f"words_{language}.js").read_text())
    assert len(found) == len(dict(found)) > 100
    return dict(found)


@pytest.mark.skipif(shutil.which("tsc") is None, reason="needs Debian's package node-typescript")
def test_the_types_are_right() -> None:
    ended = subprocess.run(["tsc", "-p", str(LEAD / "jsconfig.json")], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "")


def test_every_word_is_there_in_both_languages_and_used() -> None:
    english, chinese = words("en"), words("zh")
    assert english.keys() == chinese.keys()
    for key, text in english.items():
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", chinese[key])), key
        assert re.search(r"[\u4e00-\u9fff]", chinese[key]) or key in ("other_language", "votes_of", "of", "kappa"), key
    text = "\n".join(path.read_text() for path in SCRIPTS if not path.stem.startswith("words"))
    asked = set(re.findall(r'\bt\("(\w+)"', text))
    asked |= set(re.findall(r'data-t(?:-label)?="(\w+)"', (LEAD / "index.html").read_text()))
    groups = {*re.findall(r'\bnamed\("(\w+)"', text), *re.findall(r"\bt\(`(\w+)_\$", text)}
    assert asked <= english.keys()
    quoted = set(re.findall(r'["`](\w+)["`]', text)) | set(re.findall(r"^  (\w+):", text, re.MULTILINE))
    quoted |= set(re.findall(r"(\w+): \(\{", text))
    unused = {key for key in english.keys() - quoted - asked if key.split("_")[0] not in groups}
    states = {"leased", "retracted", "skipped"}  # what the server says of a part
    assert unused - {f"{key}_why" for key in quoted} == states


def test_the_files_are_small() -> None:
    paths = [path for path in [*SCRIPTS, LEAD / "index.html", LEAD / "lead.css"] if path.stem != "words_en"]
    sizes = {path.stem: len(PageFile.read(path).compressed) for path in paths}
    assert sum(sizes.values()) <= LARGEST
    assert sum(size for name, size in sizes.items() if name == "progress" or name not in VIEWS) <= FIRST


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with drawn pictures, and votes on 300 images that show them."""
    folder = tmp_path_factory.mktemp("leading")
    members = {f"{n:03d}.jpg": bench.encoded(bench.picture(n, (360, 270))) for n in range(6)}
    bench.write_tar(folder / "raw" / "00000.tar", members)
    made = bench.recipe(folder)
    bench.index(made)
    bench.score(made)
    Selection(bench.opened(made)).write()
    server = Server(folder / "recipe.yaml").start()
    found = Site(server, database_of(folder / "recipe.yaml"))
    count = select(func.count()).select_from(items)
    found.until(lambda: found.ask(lambda c: c.execute(count).scalar_one()) == 6)
    places = found.ask(lambda c: c.execute(select(items.c.place)).scalars().all())
    fill(found.database, 300, annotators=6, voted=0.8, days=5, now=system_clock() - 60_000, places=places)
    one = select(items.c.id).where(items.c.level == 5).limit(1).scalar_subquery()
    found.database.write(lambda c: c.execute(update(items).where(items.c.id == one).values(unsafe=0.9)))
    yield found
    found.database.close()
    server.stop()


@pytest.fixture
def visit(browser: Any, site: Site) -> Iterator[Open]:
    """Opens the lead's page for somebody; afterwards nothing went wrong in it."""
    wrong: list[str] = []
    contexts = []

    def make(view: str = "progress", name: str = "lena", role: str = "lead", **options: Any) -> Any:
        _, token = site.database.write(lambda c: invite(c, system_clock, name, role, keep=True))
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}, "locale": "en-GB"} | options))
        contexts.append(context)
        base = f"http://127.0.0.1:{site.server.port}"
        assert context.request.post(f"{base}/api/sign-in", data={"token": token}).ok
        page = context.new_page()
        page.set_default_timeout(8000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda m: wrong.append(m.text) if m.type == "error" and "load" not in m.text else None)
        page.goto(f"{base}/lead#{view}")
        return page

    yield make
    for context in contexts:
        context.close()
    assert wrong == []


def barriers(page: Any) -> list[str]:
    """Returns what axe finds wrong."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}).response
    return [
        f"{v['id']}: {v['nodes'][0]['html'][:160]} {v['nodes'][0]['failureSummary'][:200]}" for v in found["violations"]
    ]


@pytest.mark.parametrize(("locale", "colours"), [("en-GB", "light"), ("zh-CN", "dark")])
def test_there_is_no_barrier_in_any_view_and_dialog(visit: Open, locale: str, colours: str) -> None:
    page = visit(name=f"axe {colours}", locale=locale, color_scheme=colours, bypass_csp=True)
    for view in VIEWS:
        page.goto(f"{page.url.split('#')[0]}#{view}")
        page.locator("main .panel").first.wait_for()
        page.wait_for_load_state("networkidle")
        assert barriers(page) == [], view
        if view == "people":
            page.locator(".people tbody th button").first.click()
            page.locator("#dialog[open]").wait_for()
            assert barriers(page) == []
            page.keyboard.press("Escape")
    page.goto(f"{page.url.split('#')[0]}#images?level=5")
    page.locator(".tile").first.click()
    page.locator(".story").wait_for()
    assert barriers(page) == []
    assert page.locator("html").get_attribute("lang") == ("en" if locale == "en-GB" else "zh-CN")


@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
def test_a_phone_needs_no_scrolling_sideways(visit: Open, locale: str) -> None:
    page = visit(name=f"phone {locale}", locale=locale, viewport={"width": 360, "height": 640}, is_mobile=True)
    for view in VIEWS:
        page.goto(f"{page.url.split('#')[0]}#{view}")
        page.locator("main .panel").first.wait_for()
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, view


def test_progress_is_what_the_database_holds_and_the_queue_is_paused(visit: Open, site: Site) -> None:
    page = visit()
    decided = site.ask(lambda c: c.execute(select(func.count()).where(items.c.status == "decided")).scalar_one())
    row = page.locator("tr", has=page.get_by_role("rowheader", name="Decided"))
    assert row.locator("td").first.inner_text() == str(decided)
    asked = select(func.sum(items.c.asked), func.sum(items.c.voted)).where(
        items.c.kind != GOLD, items.c.status != "unavailable"
    )
    total, cast = site.ask(lambda c: c.execute(asked).one())
    assert page.locator(".fact", has_text="Votes").first.inner_text().endswith(f"{cast} of {total}")
    assert "a day" in page.locator(".fact", has_text="Pace").inner_text()
    paused = select(projects.c.paused).where(projects.c.task == "levels")
    for button, is_paused in (("Pause", True), ("Go on", False)):
        page.get_by_role("button", name=button).click()
        page.get_by_role("button", name="Go on" if is_paused else "Pause").wait_for()
        assert site.ask(lambda c: c.execute(paused).scalar_one()) == is_paused
    assert page.evaluate("document.activeElement.name") == "pause"  # in focus still


def test_an_invitation_is_shown_once_works_and_ends(visit: Open, site: Site, browser: Any) -> None:
    page = visit("people")
    page.get_by_label("Name", exact=True).fill("Mei <b>")
    page.locator("main select[name=role]").select_option("reviewer")
    page.get_by_role("button", name="Invite").click()
    link = page.locator("#dialog input").input_value()
    assert "#join=" in link and "until" in page.locator("#dialog").inner_text()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Manage Mei <b>").wait_for()
    assert link not in page.content()
    guest = browser.new_context()
    assert guest.request.post(link.split("/#")[0] + "/api/sign-in", data={"token": link.split("join=")[1]}).ok
    assert guest.request.get(link.split("/#")[0] + "/api/me").json()["person"]["role"] == "reviewer"
    page.get_by_label("Name", exact=True).fill("Mei <b>")
    page.get_by_role("button", name="Invite").click()
    page.get_by_role("alert").get_by_text("already").wait_for()
    page.get_by_role("button", name="Manage Mei <b>").click()
    page.get_by_role("button", name="Revoke").click()
    page.get_by_role("button", name="Revoke").last.click()  # asked again
    page.locator("tr", has_text="Mei <b>").get_by_text("Revoked").wait_for()
    assert guest.request.get(link.split("/#")[0] + "/api/me").status == 401
    guest.close()
    own = select(func.count()).select_from(sessions).join(people).where(people.c.name == "Mei <b>")
    assert site.ask(lambda c: c.execute(own).scalar_one()) == 0


def test_the_table_of_people_is_sorted_by_any_column(visit: Open) -> None:
    page = visit("people")
    names = page.locator(".people tbody th")
    names.first.wait_for()
    page.get_by_role("button", name="Agrees").click()
    shares = [text for text in page.locator(".people tbody td:nth-child(6)").all_inner_texts() if text != "–"]
    numbers = [int(text.rstrip("%")) for text in shares]
    assert len(numbers) == 6 and numbers == sorted(numbers, reverse=True)
    assert page.locator("[aria-sort=descending]").inner_text() == "Agrees"
    assert page.evaluate("document.activeElement.dataset.sort") == "agreed"
    page.keyboard.press("Enter")
    assert page.locator("[aria-sort=ascending]").inner_text() == "Agrees"
    with page.expect_download() as download:
        page.get_by_role("link", name="As CSV").click()
    assert "annotator 00" in Path(download.value.path()).read_text()


def test_the_gallery_is_filtered_and_an_image_becomes_gold(visit: Open, site: Site) -> None:
    page = visit("images")
    page.locator(".tile").first.wait_for()
    page.locator("select[name=level]").focus()
    page.locator("select[name=level]").select_option("5")
    page.locator(".blurred img").first.wait_for()  # the one that may disturb
    assert {text.split()[1] for text in page.locator(".chip").all_inner_texts()} == {"5"}
    assert page.evaluate("document.activeElement.name") == "level"
    page.locator("select[name=spread]").select_option("1")
    page.wait_for_url("**spread=1")
    page.locator(".tile .given").first.wait_for()
    page.wait_for_load_state("networkidle")
    for text in page.locator(".given").all_inner_texts():
        given = [int(level) for level in text.split()]
        assert max(given) - min(given) >= 1
    key = page.locator(".tile").last.get_attribute("title")  # the first images are gold already
    page.locator(".tile").last.click()
    page.get_by_role("button", name="Make it gold").click()
    page.get_by_role("button", name="Take it out").wait_for()
    twin = select(items.c.known, items.c.status).where(items.c.kind == GOLD, items.c.key == key)
    assert tuple(site.ask(lambda c: c.execute(twin).one())) == (5, "open")
    page.get_by_role("button", name="Take it out").click()
    page.get_by_text("Gold, out of service").wait_for()
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.title") == key
    page.goto(f"{page.url.split('#')[0]}#images?status=unavailable")
    page.get_by_text("the raw shard is gone").first.wait_for()
    page.get_by_role("button", name="Try all again").click()
    page.get_by_text("No image matches.").wait_for()


def test_more_images_follow_and_the_keyboard_is_where_they_begin(visit: Open) -> None:
    page = visit("images?status=decided")
    page.locator(".tile").nth(47).wait_for()
    page.get_by_role("button", name="More").press("Enter")
    page.locator(".tile").nth(95).wait_for()
    page.wait_for_function("document.activeElement === document.querySelectorAll('.tile')[48]")


def test_confusion_of_two_people(visit: Open) -> None:
    page = visit("agreement")
    page.locator(".matrix").wait_for()
    page.get_by_label("compared with those of").select_option(label="annotator 03")
    page.get_by_text("Columns: annotator 03").first.wait_for()
    cells = page.locator(".matrix tbody tr").evaluate_all(
        "rows => rows.map(r => [...r.cells].map(c => Number(c.innerText)))"
    )
    assert all(sum(row[1:6]) == row[6] for row in cells) and sum(row[6] for row in cells) > 10


def test_the_language_is_kept_and_others_are_sent_away(visit: Open, site: Site) -> None:
    page = visit(name="polyglot")
    page.get_by_role("button", name="中文").click()
    page.get_by_role("link", name="人员").wait_for()
    kept = select(people.c.preferences).where(people.c.name == "polyglot")
    site.until(lambda: site.ask(lambda c: c.execute(kept).scalar_one()).get("language") == "zh")
    page = visit(name="only", role="annotator")
    page.get_by_text("This page is for the lead").wait_for()
    page.context.clear_cookies()
    page.reload()
    page.get_by_role("link", name="To the sign-in").wait_for()
