"""The page in a browser: what a person sees and does."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import ImageFilter

from curation.recipe import Recipe, load_recipe
from curation.selection.stage import Selection
from tests import bench

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's package chromium"),
]

WHERE = {
    "size": "min_side >= 210",
    "sharp": "sharpness between 5 and 500",
    "known": "format = 'jpeg'",
    "constructor": "colourfulness >= 1 and colourfulness < 1e6",  # what every JavaScript object has
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures from blurred to grainy, of many widths, and one in each shard that is cut."""
    folder = tmp_path_factory.mktemp("page")
    for shard in range(2):
        members = {
            f"{n:02d}<b>.jpg": bench.encoded(
                bench.picture(20 * shard + n, (200 + 8 * n, 380)).filter(ImageFilter.GaussianBlur(n % 7 / 4))
            )
            for n in range(20)
        }
        bench.write_tar(folder / "raw" / f"{shard:05d}.tar", members | {"cut.jpg": members["03<b>.jpg"][:900]})
    made = bench.recipe(folder, select={"where": WHERE, "dedup": {"exact": True}})
    (folder / "recipe.yaml").write_text(
        (folder / "recipe.yaml").read_text().replace("min_side >= 210\n", "min_side >= 210  # the short side\n")
    )
    bench.index(made)
    bench.score(made)
    for shard in ("00000", "00001"):  # one picture of each has other bytes by now
        (row,) = (r for r in bench.rows(folder / f"work/samples/c/{shard}.parquet") if r["member"] == "03<b>")
        with open(folder / "raw" / f"{shard}.tar", "r+b") as raw:
            raw.seek(row["offset"] + 500)
            raw.write(b"changed")
    return folder


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with served(folder / "recipe.yaml") as address:
        yield address


@contextmanager
def served(file: Path, *overrides: str) -> Iterator[str]:
    """Served as `curate tune` does, until interrupted."""
    code = (
        "import sys; from pathlib import Path; from curation.recipe import load_recipe; from curation.scoring.opened import open_recipe; from curation.views.tune import serve;"
        "file = Path(sys.argv[1]); opened = open_recipe(load_recipe(file, sys.argv[2:]));"
        "serve(file, opened, announce=lambda line: print(line, flush=True))"
    )
    command = [sys.executable, "-c", code, str(file), *overrides]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None and server.stderr is not None
        yield server.stdout.readline().strip()
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0
        assert server.stderr.read() == ""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The page, loaded and at rest; afterwards: nothing went wrong in it, and it asked no other host."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(10_000)
    asked: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda m: wrong.append(m.text) if m.type == "error" and "Failed to load" not in m.text else None)
    page.goto(address)
    page.wait_for_selector("body.settled")
    assert page.url == address.split("?")[0]  # the token is nowhere in the history
    yield page
    context.close()
    assert wrong == []
    assert {urlsplit(url).netloc for url in asked if not url.startswith("data:")} == {urlsplit(address).netloc}


def selected(recipe: Recipe, **where: str) -> dict[str, Any]:
    """What `select` counts when these predicates are otherwise."""
    changed = recipe.select.model_copy(update={"where": recipe.select.where | where})
    funnel = Selection(bench.opened(recipe.model_copy(update={"select": changed}))).funnel().as_dict()
    return funnel | {"passing": funnel["kept"] + sum(funnel["duplicate"].values())}


def shown(page: Any) -> dict[str, list[str]]:
    """The funnel on the page: label, count, difference to what is saved."""
    rows = page.locator("#funnel tbody tr").all()
    return {r.locator("th").inner_text().strip(): r.locator("td").all_inner_texts() for r in rows}


def test_a_slider_moves_by_keyboard_and_the_funnel_is_that_of_select(page: Any, folder: Path) -> None:
    recipe = load_recipe(folder / "recipe.yaml")
    saved = selected(recipe)
    assert shown(page)["pass all"] == [str(saved["passing"]), ""]
    slider = page.get_by_label("sharp: sharpness ≥, slider")
    slider.focus()
    page.wait_for_selector("#predicate-sharp.hand")
    for key in ("PageUp", "PageUp", "ArrowRight", "ArrowLeft", "ArrowRight"):
        slider.press(key)
    page.wait_for_selector("body.settled")
    number = page.get_by_label("sharp: sharpness ≥", exact=True).input_value()
    assert float(number) > 5
    expected = selected(recipe, sharp=f"sharpness between {number} and 500")
    dropped = expected["dropped"]["sharp"]
    assert dropped > saved["dropped"]["sharp"]
    assert shown(page)["dropped by sharp"] == [str(dropped), f"+{dropped - saved['dropped']['sharp']}"]
    assert shown(page)["pass all"] == [str(expected["passing"]), f"−{saved['passing'] - expected['passing']}"]
    assert page.locator("#predicate-sharp .sql mark.moved").inner_text() == number
    page.get_by_role("button", name="back to 5").click()
    page.wait_for_selector("body.settled")
    assert shown(page)["pass all"] == [str(saved["passing"]), ""]


def test_a_typed_number_counts_and_images_of_both_sides_appear(page: Any, folder: Path) -> None:
    page.get_by_label("size: min_side ≥", exact=True).fill("230.5")
    page.wait_for_selector("body.settled")
    expected = selected(load_recipe(folder / "recipe.yaml"), size="min_side >= 230.5")
    assert shown(page)["dropped by size"][0] == str(expected["dropped"]["size"])
    assert shown(page)["pass all"][0] == str(expected["passing"])
    left, right = page.locator(".sides section").all()
    assert left.locator("h3").inner_text().startswith("Just fails")
    assert [float(v) for v in left.locator(".value").all_inner_texts()[:4]] == [224, 224, 216, 216]
    assert [float(v) for v in right.locator(".value").all_inner_texts()[:3]] == [232, 232, 240]
    names = {f"{n:02d}<b>" for n in range(4)}  # a name is text, whatever is in it
    assert set(left.locator(".name").all_inner_texts()) == names
    left.locator(".gone").nth(1).wait_for()
    assert left.locator(".gone").all_inner_texts() == ["image gone or unreadable"] * 2
    left.get_by_role("button", name="02<b>").first.click()
    page.wait_for_selector("#enlarged[open]")
    pictures, until = page.locator(".sides img, #enlarged img"), time.monotonic() + 10
    while not pictures.evaluate_all("all => all.every(i => i.naturalWidth > 0)"):
        assert time.monotonic() < until
        page.wait_for_timeout(20)
    assert pictures.count() == 8 - 2 + 12 + 1
    story = page.locator("#enlarged")
    assert "sharpness" in story.inner_text() and "curate explain recipe.yaml 'c/0000" in story.inner_text()
    story.get_by_role("button", name="Close").click()


def test_rows_that_a_looser_threshold_lets_through_need_scoring(page: Any) -> None:
    assert page.locator("#undecided").is_hidden()
    page.get_by_label("size: min_side ≥", exact=True).fill("100")
    page.wait_for_selector("#undecided:not([hidden])")
    assert page.locator("#undecided").inner_text() == "4 images need curate score before their fate is known."
    assert shown(page)["undecided at sharp"] == ["4", "+4"]


def test_what_cannot_be_moved_is_shown_with_its_count(page: Any) -> None:
    card = page.locator("#predicate-known")
    assert "drops 0" in card.inner_text() and "nothing to move here" in card.inner_text()
    assert card.locator("input").count() == 0
    assert "Duplicates are decided after the predicates" in page.locator("aside").inner_text()


def test_writing_changes_the_file_and_keeps_its_comments(page: Any, folder: Path) -> None:
    file = folder / "recipe.yaml"
    before = file.read_text()
    page.get_by_label("size: min_side ≥", exact=True).fill("220")
    page.get_by_role("button", name="Write 1 to recipe…").click()
    page.wait_for_selector("#writing[open]")
    lines = page.locator("#writing .plus").all_inner_texts()
    assert [line.strip() for line in lines] == ["+    size: min_side >= 220  # the short side"]
    assert file.read_text() == before
    page.locator("#writing").get_by_role("button", name="Write").click()
    page.locator("#status", has_text="written to recipe.yaml").wait_for()
    assert file.read_text() == before.replace("min_side >= 210 ", "min_side >= 220 ")
    expected = selected(load_recipe(file))
    assert shown(page)["dropped by size"] == [str(expected["dropped"]["size"]), ""]
    file.write_text(before)  # someone else's change is not overwritten
    page.get_by_label("size: min_side ≥", exact=True).fill("230")
    page.get_by_role("button", name="Write 1 to recipe…").click()
    page.locator("#writing").get_by_role("button", name="Write").click()
    page.wait_for_selector("#writing [role=alert]:not([hidden])")
    assert "changed on disk" in page.locator("#writing").inner_text() and file.read_text() == before


def test_a_predicate_may_be_named_as_what_every_object_has(page: Any) -> None:
    assert shown(page)["dropped by constructor"] == ["0", ""]
    assert not any("NaN" in text or "undecided" in text for text in shown(page))
    assert "drops 0" in page.locator("#predicate-constructor header").inner_text()


def test_a_saved_threshold_far_away_is_said_at_the_end_of_the_axis(page: Any) -> None:
    threshold = page.locator("#predicate-constructor .threshold").nth(1)
    assert threshold.locator(".far").inner_text() == "saved: 1,000,000 →"
    slider, number = threshold.locator("[type=range]"), threshold.locator("[type=number]")
    end = float(slider.get_attribute("max"))
    assert end < 1000
    slider.press("ArrowLeft")
    assert float(number.input_value()) == pytest.approx(end)
    slider.press("ArrowLeft")
    assert float(number.input_value()) < end
    page.wait_for_selector("body.settled")
    threshold.get_by_role("button", name="back to 1,000,000").click()


@pytest.mark.parametrize("width", [380, 620, 860])
def test_a_narrow_window_does_not_scroll_sideways(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.get_by_label("size: min_side ≥", exact=True).fill("230")
    page.wait_for_selector("body.settled")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator(".tile").first.click()
    page.wait_for_selector("#enlarged[open]")
    assert page.locator("#enlarged").evaluate("e => e.scrollWidth - e.clientWidth") <= 0
    page.locator("#enlarged").get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Write 1 to recipe…").click()
    page.wait_for_selector("#writing[open]")
    assert page.locator("#writing").evaluate("e => e.scrollWidth - e.clientWidth") <= 0
    page.locator("#writing").get_by_role("button", name="Cancel").click()


def test_what_was_given_by_set_stays_moved_while_the_others_are_written(browser: Any, folder: Path) -> None:
    file = folder / "recipe.yaml"
    before = file.read_text()
    with served(file, "select.where.sharp=sharpness >= 5") as address, browser.new_context() as context:
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.goto(address)
        page.wait_for_selector("body.settled")
        sharp = page.get_by_label("sharp: sharpness ≥", exact=True)
        sharp.fill("6")
        assert page.locator("#write").is_disabled()
        assert page.locator("#write").get_attribute("title") == "Not written, since given by --set: sharp"
        page.get_by_label("size: min_side ≥", exact=True).fill("220")
        page.get_by_text("Write 1 to recipe…").click()
        page.locator("#writing").get_by_role("button", name="Write").click()
        page.locator("#status", has_text="written to recipe.yaml").wait_for()
        assert file.read_text() == before.replace("min_side >= 210 ", "min_side >= 220 ")
        assert sharp.input_value() == "6" and page.locator("#reset").is_enabled()
        assert page.locator("#write").is_disabled()
    file.write_text(before)


def test_a_server_that_stopped_is_said(page: Any) -> None:
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    page.route("**/api/move", lambda route: route.abort())
    page.get_by_label("size: min_side ≥", exact=True).fill("240")
    page.wait_for_selector("#trouble:not([hidden])")
    assert page.locator("#trouble").inner_text().startswith("The server has stopped.")
    for top in (0, 10_000):  # wherever the page is scrolled to
        page.evaluate(f"window.scrollTo(0, {top})")
        box = page.locator("#trouble").bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] < 200


def test_without_the_token_there_is_no_page(browser: Any, address: str) -> None:
    page = browser.new_page()
    assert page.goto(address + "x").status == 403
    assert page.goto(address.split("?")[0]).status == 403
    page.close()
