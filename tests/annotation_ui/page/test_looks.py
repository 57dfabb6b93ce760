"""How the page looks and is read: barriers, narrow windows, languages, colours, keys of dialogs, pace."""

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from sqlalchemy import select, update

from annotation_ui.database.tables import items, people, slots
from tests.voting_page import Site, Visit

Open = Callable[..., Visit]


def barriers(page: Any) -> list[str]:
    """Returns what axe finds wrong."""
    page.evaluate("() => document.getAnimations().forEach((animation) => animation.finish())")
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}).response
    return [
        f"{v['id']}: {v['nodes'][0]['html'][:160]} {v['nodes'][0]['failureSummary'][:200]}" for v in found["violations"]
    ]


@pytest.fixture
def with_axe(visit: Open) -> Open:
    """Opens pages into which axe may be put, which the page's own policy forbids."""
    return lambda name, *args, **options: visit(name, *args, bypass_csp=True, **options)


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_there_is_no_barrier_in_voting_and_in_any_dialog(with_axe: Open, site: Site, colours: str) -> None:
    site.link(f"axe {colours}")
    item = site.hold(f"axe {colours}", unsafe=0.9)
    page = (axe := with_axe(f"axe {colours}", color_scheme=colours)).page
    assert barriers(page) == []  # a blurred picture
    axe.press("r", "3", "ArrowLeft")
    page.locator("#banner:not([hidden])").wait_for()
    assert barriers(page) == []
    site.change(item, unsafe=None)
    for opener, dialog in (("?", "#help"), ("g", "#guide"), ("ArrowRight", ""), ("s", "#skipping")):
        page.keyboard.press(opener)
        if dialog:
            page.locator(f"{dialog}[open]").wait_for()
            assert barriers(page) == [], dialog
            page.keyboard.press("Escape")
    page.get_by_role("button", name="Settings").click()
    page.locator("#settings[open]").wait_for()
    assert barriers(page) == []
    page.get_by_role("button", name="Sign out").click()
    page.locator("#signing[open]").wait_for()
    assert barriers(page) == []


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("project", ["own_captions", "own_rating"])
def test_there_is_no_barrier_in_grids_of_scores(with_axe: Open, project: str, colours: str) -> None:
    page = (axe := with_axe(f"axe {project} {colours}", project=project, color_scheme=colours)).page
    page.locator(".row").nth(3).wait_for()
    axe.press("5", "4", "Enter")
    page.locator("#notice", has_text="missing").wait_for()
    assert barriers(page) == []


def test_there_is_no_barrier_in_review(with_axe: Open, site: Site) -> None:
    site.link("axe voter")
    site.change(site.hold("axe voter"), status="tie")
    page = with_axe("axe reviewer", "reviewer").page
    page.get_by_role("button", name="Review").click()
    page.locator(".note").wait_for()
    assert barriers(page) == []


@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
@pytest.mark.parametrize("project", ["levels", "own_captions", "own_rating"])
def test_a_phone_needs_no_scrolling_sideways(visit: Open, project: str, locale: str) -> None:
    options: dict[str, Any] = {"viewport": {"width": 360, "height": 640}, "has_touch": True, "is_mobile": True}
    page = (phone := visit(f"phone {project} {locale}", project=project, locale=locale, **options)).page
    page.locator("#panel button, .level").first.wait_for(state="attached")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.locator("#panel").evaluate("e => e.scrollWidth - e.clientWidth") <= 0
    small = page.evaluate(
        """() => [...document.querySelectorAll("button, a, select, .level, .scale label")]
        .filter(e => e.checkVisibility() && !e.matches(".jump, .unseen"))
        .map(e => [e.outerHTML.slice(0, 80), e.getBoundingClientRect()])
        .filter(([, box]) => box.width && (box.height < 43.9 || box.width < 43.9)).map(([html]) => html)"""
    )
    assert small == []
    for name in ("do-help", "do-guide", "do-settings", "do-skip"):
        page.locator(f"#{name}").tap()
        dialog = page.locator("dialog[open]")
        dialog.wait_for()
        assert dialog.evaluate("e => e.scrollWidth - e.clientWidth") <= 0, name
        page.keyboard.press("Escape")
    picture = page.locator(".viewer img").first.bounding_box()
    assert picture["width"] >= 140 and phone.wrong == []


@pytest.mark.parametrize("width", [640, 900, 1000])
def test_no_word_is_cut_in_a_middling_window(visit: Open, width: int) -> None:
    page = visit(f"head {width}", "lead", viewport={"width": width, "height": 480}).page
    page.locator("#saved", has_text="Saved").wait_for()
    cut = "e => e.filter(name => name.scrollWidth > name.clientWidth).map(name => name.textContent)"
    assert page.locator(".level .name").evaluate_all(cut) == []
    boxes = page.evaluate(
        """() => [...document.querySelectorAll("#head > :not(nav, .unseen), #head nav > *")].filter(e => e.checkVisibility())
        .map(e => [e.id, e.getBoundingClientRect()]).map(([id, { left, top, right, bottom }]) => [id, left, top, right, bottom])"""
    )
    assert {"progress", "saved", "lead", "do-settings"} <= {box[0] for box in boxes}
    assert all(0 <= left < right <= width for _, left, _, right, _ in boxes)
    assert page.locator("#progress").evaluate("e => e.scrollWidth - e.clientWidth") == 0
    for n, (one, left, top, right, bottom) in enumerate(boxes):
        for other, x, y, far, low in boxes[n + 1 :]:
            assert x >= right or far <= left or y >= bottom or low <= top, (one, other)


def test_a_swipe_leafs_and_never_votes(site: Site, visit: Open) -> None:
    options: dict[str, Any] = {"viewport": {"width": 390, "height": 800}, "has_touch": True, "is_mobile": True}
    page = (swiper := visit("swiper", **options)).page
    page.wait_for_timeout(300)
    page.locator(".level").nth(3).tap()
    (row,) = site.until(lambda: site.votes("swiper"))
    assert (row.level, row.device) == (4, "touch")
    session = swiper.context.new_cdp_session(page)

    def swipe(x: int, y: int, dx: int, dy: int) -> None:
        for step in range(6):
            kind = "touchStart" if step == 0 else "touchMove"
            point = {"x": x + dx * step / 5, "y": y + dy * step / 5}
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    present = swiper.picture
    swipe(200, 500, 0, -200)
    swipe(200, 300, 0, 200)
    assert page.locator("#banner").is_hidden() and swiper.picture == present
    swipe(80, 400, 200, 10)
    page.locator("#banner", has_text="4 Ordinary").wait_for()
    swipe(300, 400, -200, 10)
    page.locator("#banner").wait_for(state="hidden")
    assert swiper.picture == present and len(site.votes("swiper")) == 1


def test_both_languages_and_the_choice_is_kept(site: Site, visit: Open) -> None:
    page = (li := visit("li", locale="zh-CN")).page
    assert page.locator("html").get_attribute("lang") == "zh-CN" and page.title() == "标注"
    assert page.get_by_text("人工痕迹", exact=True).is_visible()
    assert page.locator("label.level").nth(3).get_attribute("title") == "平淡无奇的随手拍：没有缺陷，也没有亮点。"
    before = li.picture
    page.get_by_role("button", name="English").click()
    page.get_by_text("Artificial", exact=True).wait_for()
    assert page.locator("html").get_attribute("lang") == "en" and li.picture == before
    mine = select(people.c.preferences).where(people.c.name == "li")
    site.until(lambda: site.ask(lambda c: c.execute(mine).scalar_one()).get("language") == "en")
    page.reload()
    li.settle()
    page.get_by_text("Artificial", exact=True).wait_for()


def test_colours_follow_the_person_and_the_system(visit: Open) -> None:
    page = visit("colour", color_scheme="dark").page
    ground = "() => getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Colours").select_option("light")
    light = page.evaluate(ground)
    assert dark != light
    page.emulate_media(color_scheme="light")
    page.get_by_label("Colours").select_option("dark")
    assert page.evaluate(ground) == dark
    page.get_by_label("Colours").select_option("auto")
    assert page.evaluate(ground) == light


def test_the_picture_is_fitted_enlarged_and_moved(site: Site, visit: Open) -> None:
    site.link("zoom")
    with_large = select_large(site)
    page = (zoom := visit("zoom")).page
    assert site.votes("zoom") == [] and with_large
    image, value = page.locator(".viewer img"), page.locator("#zoom-value")
    box = image.bounding_box()
    fitted = value.inner_text()
    zoom.press("f")
    assert value.inner_text() == "100%" != fitted
    page.wait_for_function("() => document.querySelector('.viewer img').naturalWidth === 2400")
    at = image.bounding_box()
    assert at["width"] == pytest.approx(2400, abs=1)
    zoom.press("Shift+ArrowRight")
    assert image.bounding_box()["x"] == pytest.approx(at["x"] - 80, abs=1)
    page.mouse.move(600, 400)
    page.mouse.down()
    page.mouse.move(700, 430, steps=3)
    page.mouse.up()
    assert image.bounding_box()["x"] == pytest.approx(at["x"] + 20, abs=1)
    page.mouse.wheel(0, -200)
    page.wait_for_function("() => parseInt(document.getElementById('zoom-value').textContent) > 120")
    zoom.press("f")
    assert image.bounding_box() == box and value.inner_text() == fitted
    zoom.press("+", "+", "-", "-")
    assert value.inner_text() == fitted


def select_large(site: Site) -> bool:
    """Lets the person named zoom hold the picture of 2400 × 1800 pixels."""

    def work(connection: Any) -> int:
        rows = connection.execute(select(items).where(items.c.project_id == site.project("levels"))).all()
        small = [row.id for row in rows if row.place["width"] != 2400]
        connection.execute(update(items).where(items.c.id.in_(small)).values(status="withdrawn"))
        return len(small)

    hidden = site.database.write(work)
    site.hold("zoom")
    back = update(items).where(items.c.status == "withdrawn").values(status="open")
    site.database.write(lambda c: c.execute(back))
    return bool(hidden)


def test_help_and_guide_say_what_there_is(visit: Open) -> None:
    page = visit("guide").page
    page.keyboard.press("?")
    page.get_by_text("A swipe never votes.", exact=False).wait_for()
    page.keyboard.press("4")  # a key in a dialog is none of the page behind it
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.locator("#guide[open]").wait_for()
    text = page.locator("#guide").inner_text()
    assert "High aesthetic value" in text and "Pornography, violence, gore or horror." in text
    assert page.locator("#progress").inner_text().startswith("0 in this session")


def test_the_guide_shows_the_teams_own_examples(site: Site, visit: Open) -> None:
    site.link("agreed")
    item = site.hold("agreed")
    voted = (
        update(slots)
        .where(slots.c.item_id == item, slots.c.state == "leased")
        .values(state="voted", level=4, expires_at=None)
    )
    site.database.write(lambda c: c.execute(voted))
    site.change(item, status="decided", level=4, taken=3, voted=3)
    page = visit("reads").page
    page.keyboard.press("g")
    example = page.locator("#guide-4 .examples img").first
    example.wait_for()
    assert example.get_attribute("alt") == "Examples: 4 Ordinary"
    example.scroll_into_view_if_needed()
    page.wait_for_function("() => document.querySelector('#guide-4 img').naturalWidth > 0")
    assert page.locator("#guide-1 .examples img").count() == 0


def test_pace_rest_and_what_is_left_count_active_time_alone(visit: Open) -> None:
    page = visit("pace").page
    found = page.evaluate(
        """async () => {
        const { Session, REST } = await import("/page/session.js");
        let now = 0;
        const session = new Session(() => now), told = [];
        for (const seconds of [4, 5, 6, 5, 300, 5, 4]) {
          now += 1000 * seconds;
          session.vote();
          told.push(session.pace);
        }
        const left = session.minutes(120), due = [];
        for (let n = 0; n < 620; n++) { now += 5000; session.touch(); due.push(session.restDue); }
        session.snooze(10);
        const snoozed = session.restDue;
        for (let n = 0; n < 121; n++) { now += 5000; session.touch(); }
        const again = session.restDue;
        now += 6 * 60000;
        session.touch();
        return { told, left, first: due.indexOf(true) * 5 / 60, snoozed, again, rested: session.restDue, rest: REST / 60000 };
        }"""
    )
    assert found["told"][:4] == [None] * 4 and found["told"][-1] == 3600 / 5 and found["left"] == 10
    assert found["rest"] == 50 and 49 < found["first"] < 50.1
    assert (found["snoozed"], found["again"], found["rested"]) == (False, True, False)


def test_the_reminder_can_be_put_off_and_switched_off(site: Site, visit: Open) -> None:
    page = visit("rest").page
    page.clock.install()
    page.reload()
    page.wait_for_selector(".viewer img")
    for _ in range(52):
        page.clock.fast_forward(50_000)
        page.keyboard.press("+")
    for _ in range(12):
        page.clock.fast_forward(50_000)
        page.keyboard.press("-")
    page.locator("#notice", has_text="A short rest").wait_for()
    page.get_by_role("button", name="Do not remind me").click()
    mine = select(people.c.preferences).where(people.c.name == "rest")
    site.until(lambda: site.ask(lambda c: c.execute(mine).scalar_one()).get("rest") is False)


def test_a_password_is_set_in_the_settings(site: Site, visit: Open) -> None:
    name = "<img src=x onerror=alert(1)>"
    page = visit(name).page
    page.get_by_role("button", name="Settings").click()
    page.get_by_text(f"Signed in as {name}").wait_for()
    page.get_by_label("New password").fill("ten letters and more")
    page.get_by_role("button", name="Set the password").click()
    page.get_by_text("The password is set.").wait_for()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill("ten letters and more")
    page.get_by_label("Password").press("Enter")
    page.wait_for_selector(".viewer img")
