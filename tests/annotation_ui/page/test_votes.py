"""Voting by keys: what stands in the database afterwards."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update

from annotation_ui.accounts import passwords
from annotation_ui.clock import system_clock
from annotation_ui.database.tables import decisions, items, projects, sessions, slots, votes
from tests.voting_page import Site, Visit

Open = Callable[..., Visit]
SENT = "() => !Object.keys(localStorage).some(k => k.startsWith('outbox'))"


def test_a_key_votes_and_the_next_picture_shows(site: Site, visit: Open) -> None:
    anna = visit("anna")
    assert "join" not in anna.page.url  # the token is nowhere in the history
    seen = [anna.picture]
    for key in ("5", "Numpad2", "1"):
        anna.press(key)
        anna.page.wait_for_function("before => document.querySelector('.viewer img')?.src !== before", arg=seen[-1])
        seen.append(anna.picture)
    assert len(set(seen)) == 4
    rows = site.cast("anna", 3)
    assert [row.level for row in rows] == [5, 2, 1] and len({row.item_id for row in rows}) == 3
    for row in rows:
        assert row.device == "keyboard" and 0 <= row.shown_ms <= row.decided_ms and row.hidden_ms == 0
    anna.page.wait_for_timeout(300)  # a person looks before clicking
    anna.page.get_by_label("4 Ordinary").click()
    row = site.cast("anna", 4)[3]
    assert (row.level, row.device) == (4, "mouse")
    assert anna.page.locator("#live").inner_text() == "4 Ordinary. Next image."
    anna.page.wait_for_timeout(400)
    anna.page.get_by_label("2 Artificial").dblclick()
    anna.page.wait_for_timeout(300)
    assert [row.level for row in site.cast("anna", 5)][4] == 2  # and not the next image too
    assert anna.page.locator(".level :checked").count() == 0


def test_what_is_no_press_of_a_key_does_not_vote(site: Site, visit: Open) -> None:
    bao = visit("bao")
    for more in ("repeat: true", "ctrlKey: true", "altKey: true", "metaKey: true", "isComposing: true", "keyCode: 229"):
        bao.page.evaluate(
            f"document.body.dispatchEvent(new KeyboardEvent('keydown', {{key: '3', bubbles: true, {more}}}))"
        )
    bao.page.keyboard.press("6")
    bao.page.get_by_label("1 Unsafe").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):  # arrows choose among the levels, and must not vote
        bao.page.keyboard.press(key)
    assert bao.page.get_by_label("2 Artificial").is_checked() and site.votes("bao") == []
    bao.page.keyboard.press("Enter")
    assert [row.level for row in site.until(lambda: site.votes("bao"))] == [2]
    bao.page.keyboard.press("ArrowRight")
    bao.page.keyboard.press("Tab")  # the button comes into sight with the focus, which must not get lost on the way
    assert bao.page.evaluate("document.activeElement.textContent") == "Vote"
    bao.page.keyboard.press("Enter")
    assert [row.level for row in site.cast("bao", 2)] == [2, 3]


def test_keys_that_are_switched_off_work_only_within_the_answer(site: Site, visit: Open) -> None:
    chen = visit("chen")
    chen.page.get_by_role("button", name="Settings").click()
    chen.page.get_by_label("Single-key shortcuts").uncheck()
    chen.page.keyboard.press("Escape")
    chen.page.evaluate("document.activeElement.blur()")
    for key in ("4", "z", "s", "?", "g"):
        chen.page.keyboard.press(key)
    assert chen.page.locator("dialog[open]").count() == 0
    chen.page.get_by_label("1 Unsafe").focus()
    chen.page.keyboard.press("4")
    assert [row.level for row in site.until(lambda: site.votes("chen"))] == [4]


def test_two_people_at_once_share_no_slot(site: Site, visit: Open) -> None:
    people = [visit("two one"), visit("two two")]
    for level in "54345":
        for person in people:
            person.press(level)
    for name in ("two one", "two two"):
        site.until(lambda name=name: len(site.votes(name)) == 5)
    taken = site.ask(lambda c: c.execute(select(slots.c.item_id, slots.c.slot).where(slots.c.slot.is_not(None))).all())
    assert max(Counter(map(tuple, taken)).values()) == 1 and all(row.slot <= 3 for row in taken)


def test_votes_wait_while_there_is_no_connection(site: Site, visit: Open) -> None:
    page = (dong := visit("dong")).page
    page.wait_for_timeout(300)  # the next pictures are loaded meanwhile
    dong.context.set_offline(True)
    dong.press("3", "4", "5")
    page.locator("#saved", has_text="Waiting to be saved: 3").wait_for()
    page.locator("#trouble", has_text="No connection").wait_for()
    assert site.votes("dong") == []
    dong.context.set_offline(False)
    rows = site.cast("dong", 3)
    assert [row.level for row in rows] == [3, 4, 5]
    page.locator("#saved", has_text="Saved").wait_for()
    assert page.locator("#trouble").is_hidden()


def test_without_a_connection_the_page_says_so_and_asks_calmly(site: Site, visit: Open) -> None:
    page = (er := visit("er")).page
    page.wait_for_timeout(500)
    er.context.set_offline(True)
    er.press(*"34345")  # all that this person holds
    page.get_by_role("heading", name="No connection").wait_for()
    page.keyboard.press("1")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(3_000)
    assert len(asked) < 12, asked
    er.context.set_offline(False)
    assert [row.level for row in site.cast("er", 5)] == [3, 4, 3, 4, 5]
    er.press("2")
    site.cast("er", 6)


def test_a_closed_tab_keeps_its_votes(site: Site, visit: Open) -> None:
    feng = visit("feng")
    feng.page.wait_for_timeout(300)
    feng.context.set_offline(True)
    feng.press("2", "5")
    address = feng.page.url
    feng.page.close()
    feng.context.set_offline(False)
    feng.page = feng.context.new_page()
    feng.page.goto(address)
    feng.settle()
    assert [row.level for row in site.cast("feng", 2)] == [2, 5]


def test_an_answer_that_was_lost_on_the_way_is_not_stored_twice(site: Site, visit: Open) -> None:
    gao = visit("gao")
    lost: list[str] = []

    def lose(route: Any) -> None:
        if lost:
            route.continue_()
            return
        route.fetch()  # the server has it
        lost.append(route.request.url)
        route.abort()

    gao.page.route("**/votes", lose)
    gao.press("4")
    gao.page.locator("#trouble").wait_for()
    gao.page.locator("#saved", has_text="Saved").wait_for()
    gao.page.wait_for_function(SENT)
    assert [(row.level, row.revision) for row in site.votes("gao")] == [(4, 1)] and lost


def test_undo_takes_back_votes_and_skips(site: Site, visit: Open) -> None:
    page = (hui := visit("hui")).page
    first = hui.picture
    hui.press("1")
    item = site.until(lambda: site.votes("hui"))[0].item_id
    page.locator("#saved", has_text="Saved").wait_for()
    page.wait_for_function(SENT)
    hui.press("z")
    assert hui.picture == first and page.locator(".level :checked").count() == 0
    site.until(lambda: [row.level for row in site.votes("hui")] == [1, None])
    hui.press("4")
    rows = site.cast("hui", 3)
    assert [(row.item_id, row.revision, row.level) for row in rows] == [(item, 1, 1), (item, 2, None), (item, 3, 4)]
    second = hui.picture
    hui.press("s")
    page.locator("#skipping[open]").wait_for()
    page.keyboard.press("3")
    skipped = select(slots).where(slots.c.person_id == site.person("hui"), slots.c.state == "skipped")
    row = site.until(lambda: site.ask(lambda c: c.execute(skipped).one_or_none()))
    assert row.reason == "distressing"
    hui.press("z")
    assert hui.picture == second
    site.until(lambda: site.slot("hui", row.item_id).state == "leased")


def test_an_answer_to_what_was_skipped_counts_like_any_other(site: Site, visit: Open) -> None:
    page = (ivo := visit("ivo")).page
    ivo.press("s")
    page.locator("#skipping[open]").wait_for()
    page.keyboard.press("1")
    page.locator("#live", has_text="Skipped").wait_for(state="attached")
    progress = page.locator("#progress")
    ivo.press("ArrowLeft")
    page.locator("#banner", has_text="Skipped earlier").wait_for()
    ivo.press("4", "2")
    assert [row.level for row in site.cast("ivo", 2)] == [4, 2] and progress.inner_text().startswith("1 ")
    page.reload()
    ivo.settle()
    ivo.press("3", "ArrowLeft", "ArrowLeft")
    page.locator("#banner", has_text="2 Artificial").wait_for()
    ivo.press("z")  # an answer of an earlier session
    assert [row.level for row in site.cast("ivo", 4)] == [4, 2, 3, None] and progress.inner_text().startswith("1 ")


def test_undo_of_what_was_never_sent_leaves_no_trace(site: Site, visit: Open) -> None:
    jun = visit("jun")
    first = jun.picture
    jun.page.wait_for_timeout(300)
    jun.page.route("**/votes", lambda route: route.abort())
    jun.press("1")
    jun.page.locator("#trouble").wait_for()
    jun.press("2", "z", "z")  # the first has been tried, the second has not
    assert jun.picture == first
    jun.page.unroute("**/votes")
    jun.page.evaluate("() => dispatchEvent(new Event('online'))")
    site.until(lambda: [(row.level, row.revision) for row in site.votes("jun")] == [(1, 1), (None, 2)])


def test_the_history_shows_and_changes_earlier_votes(site: Site, visit: Open) -> None:
    page = (kai := visit("kai")).page
    pictures = []
    for key in "345":
        pictures.append(kai.picture)
        kai.press(key)
    present = kai.picture
    site.until(lambda: len(site.votes("kai")) == 3)
    kai.press("ArrowLeft")
    page.locator("#banner", has_text="5 Excellent").wait_for()
    kai.press("ArrowLeft")
    page.locator("#banner", has_text="4 Ordinary").wait_for()
    assert kai.picture == pictures[1] and page.get_by_label("4 Ordinary").is_checked()
    kai.press("2")
    page.locator("#banner", has_text="2 Artificial").wait_for()
    rows = site.cast("kai", 4)
    assert (rows[3].item_id, rows[3].revision, rows[3].level) == (rows[1].item_id, 2, 2)
    kai.press("ArrowRight")
    page.locator("#banner", has_text="5 Excellent").wait_for()
    kai.press("ArrowRight")
    page.locator("#banner").wait_for(state="hidden")
    assert kai.picture == present
    site.change(rows[2].item_id, status="decided", level=5)
    kai.press("ArrowLeft")
    page.locator("#banner", has_text="no longer be changed").wait_for()
    kai.press("1", "z")
    page.locator("#notice", has_text="decided").wait_for()
    page.reload()
    kai.settle()
    kai.press("ArrowLeft")  # what the server remembers
    page.locator("#banner", has_text="Earlier answer").wait_for()
    assert len(site.votes("kai")) == 4


def test_a_hidden_tab_adds_nothing_to_the_time_shown(site: Site, visit: Open) -> None:
    page = (lan := visit("lan")).page
    for hidden, wait in (("true", 600), ("false", 50)):
        page.evaluate(f"Object.defineProperty(document, 'hidden', {{get: () => {hidden}, configurable: true}})")
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        page.wait_for_timeout(wait)
    lan.press("3")
    row = site.until(lambda: site.votes("lan"))[0]
    assert row.hidden_ms >= 590 and abs(row.shown_ms + row.hidden_ms - row.decided_ms) <= 2


def test_what_may_disturb_is_blurred_until_asked_for(site: Site, visit: Open) -> None:
    site.link("mei")
    item = site.hold("mei", unsafe=0.9)
    page = (mei := visit("mei")).page
    assert page.get_by_role("button", name="This image may be disturbing").is_visible()
    mei.press("1")
    page.locator("#notice", has_text="Look at the image first").wait_for()
    assert site.votes("mei") == []
    mei.press("r")
    assert page.locator(".veiled").count() == 0
    assert page.locator("#notice").is_hidden()  # what it asked for is done
    mei.press("1")
    assert [(row.item_id, row.level) for row in site.until(lambda: site.votes("mei"))] == [(item, 1)]
    site.change(item, unsafe=None)  # others get it too


def test_a_picture_that_cannot_be_shown_is_told_and_left_out(site: Site, visit: Open) -> None:
    site.link("nan")
    item = site.hold("nan")
    place = site.ask(lambda c: c.execute(select(items.c.place).where(items.c.id == item)).scalar_one())
    site.change(item, place=place | {"sha256": "0" * 64})
    nan = visit("nan")
    nan.page.locator("#notice", has_text="could not be shown").wait_for()
    nan.press("3")
    assert site.until(lambda: site.votes("nan"))[0].item_id != item
    status = site.ask(lambda c: c.execute(select(items.c.status).where(items.c.id == item)).scalar_one())
    assert status == "unavailable"


def test_a_lost_lease_is_told_calmly(site: Site, visit: Open) -> None:
    site.link("ou")
    item = site.hold("ou")
    ou = visit("ou")
    lost = update(slots).where(slots.c.item_id == item).values(state="returned", slot=None, expires_at=None)
    site.database.write(lambda c: c.execute(lost))
    site.change(item, status="decided", level=3, taken=0)
    ou.press("5", "4")
    ou.page.locator("#notice", has_text="came too late").wait_for()
    rows = site.until(lambda: site.votes("ou"))
    assert item not in {row.item_id for row in rows} and [row.level for row in rows] == [4]


def test_an_ended_session_keeps_the_votes_until_the_sign_in(site: Site, visit: Open) -> None:
    page = (pan := visit("pan")).page
    person, known = site.person("pan"), passwords.hashed("correct horse")
    site.database.write(lambda c: passwords.set_hash(c, system_clock, person, known))
    page.wait_for_load_state("networkidle")  # else loading the next pictures asks for the sign-in before the key does
    site.database.write(lambda c: c.execute(delete(sessions).where(sessions.c.person_id == person)))
    pan.press("2")
    page.locator("#signing[open]").wait_for()
    page.keyboard.press("4")  # a key that was meant for the next image
    assert page.get_by_label("Name").input_value() == "pan" and page.get_by_label("Password").input_value() == ""
    page.keyboard.press("Escape")  # there is no way around it
    assert page.locator("#signing[open]").is_visible() and site.votes("pan") == []
    page.get_by_label("Password").fill("wrong horse")
    page.keyboard.press("Enter")
    page.get_by_text("The name or the password is wrong.").wait_for()
    page.get_by_label("Password").fill("correct horse")
    page.keyboard.press("Enter")
    assert [row.level for row in site.until(lambda: site.votes("pan"))] == [2]


def test_a_link_that_is_opened_in_another_tab_ends_the_asking_for_a_sign_in(site: Site, visit: Open) -> None:
    page = (pia := visit("pia")).page
    person = site.person("pia")
    page.wait_for_load_state("networkidle")  # else loading the next pictures asks for the sign-in before the key does
    site.database.write(lambda c: c.execute(delete(sessions).where(sessions.c.person_id == person)))
    pia.press("2")
    page.locator("#signing[open]").wait_for()
    other = pia.context.new_page()
    other.goto(site.link("pia"))
    page.get_by_role("heading", name="Open in another tab").wait_for()
    assert page.locator("#signing").is_hidden()
    assert [row.level for row in site.cast("pia", 1)] == [2]


def test_a_server_that_cannot_store_is_told_loudly_and_stops_the_voting(site: Site, visit: Open) -> None:
    page = (qi := visit("qi")).page
    said = {"status": 507, "json": {"error": {"code": "storage", "message": "nothing was stored"}}}
    page.route("**/votes", lambda route: route.fulfill(**said))
    qi.press("3")
    page.locator("#trouble.loud", has_text="cannot store anything").wait_for()
    page.evaluate(
        """person => { for (let n = 0; n < 25; n++) localStorage.setItem(`outbox/${person}/9${String(n).padStart(14, "0")}`,
        JSON.stringify({kind: "votes", project: 99, item: 0, body: {}, attempts: 0})); }""",
        site.person("qi"),
    )
    before = qi.picture
    qi.press("4")
    page.locator("#notice", has_text="Too many answers are waiting").wait_for()
    assert qi.picture == before
    page.evaluate("Object.keys(localStorage).filter(k => k.includes('/9')).forEach(k => localStorage.removeItem(k))")
    page.unroute("**/votes")
    assert [row.level for row in site.until(lambda: site.votes("qi"))] == [3]


@pytest.mark.parametrize(("state", "title"), [
    ("nothing", "All done for now"),
        ("ready", "All done for now"), ("paused", "Paused"), ("failed", "Entry test not passed"),
    ("no_gold", "The entry test is not ready"),
])  # fmt: skip
def test_there_is_always_something_to_see(visit: Open, state: str, title: str) -> None:
    page = (rong := visit("rong")).page
    nothing = {"state": state, "testing": False, "test": None, "items": [], "left": 0, "done": 0}
    page.route("**/claim", lambda route: route.fulfill(json=nothing))
    page.reload()
    page.get_by_role("heading", name=title).wait_for()
    page.unroute("**/claim")
    page.reload()
    rong.settle()
    assert page.locator(".viewer img").is_visible()


def test_a_paused_project_says_so(site: Site, visit: Open) -> None:
    page = (shan := visit("shan")).page
    for paused in (True, False):
        site.database.write(
            lambda c, paused=paused: c.execute(
                update(projects).where(projects.c.id == site.project("levels")).values(paused=paused)
            )
        )
        page.reload()
        shan.settle()
        assert page.get_by_role("heading", name="Paused").count() == paused


def test_the_newest_tab_votes_and_the_others_rest(site: Site, visit: Open) -> None:
    tao = visit("tao")
    other = tao.context.new_page()
    other.goto(tao.page.url)
    other.wait_for_selector(".viewer img")
    tao.page.get_by_role("heading", name="Open in another tab").wait_for()
    tao.page.keyboard.press("5")
    other.keyboard.press("4")
    assert [row.level for row in site.until(lambda: site.votes("tao"))] == [4]
    tao.page.get_by_role("button", name="Go on here").click()
    tao.settle()
    other.get_by_role("heading", name="Open in another tab").wait_for()


def test_a_page_goes_on_after_the_server_was_killed(site: Site, visit: Open) -> None:
    wen = visit("wen")
    site.server.kill()
    wen.press("3")
    wen.page.locator("#trouble", has_text="No connection").wait_for()
    site.server.start()
    assert [row.level for row in site.until(lambda: site.votes("wen"))] == [3]
    wen.press("4")
    site.until(lambda: len(site.votes("wen")) == 2)


def test_a_closed_page_gives_its_images_back(site: Site, visit: Open) -> None:
    xia = visit("xia")
    held = select(func.count()).where(slots.c.person_id == site.person("xia"), slots.c.state == "leased")
    assert site.ask(lambda c: c.execute(held).scalar_one()) == 5
    xia.page.close()
    site.until(lambda: site.ask(lambda c: c.execute(held).scalar_one()) == 0)


def test_a_reviewer_decides_ties_and_safety_reviews(site: Site, visit: Open) -> None:
    assert visit("yan").page.get_by_role("button", name="Review").is_hidden()
    site.link("rui", "reviewer")
    waiting = [site.hold("yan") for _ in range(2)]
    for item, status in zip(waiting, ("tie", "safety_review"), strict=True):
        site.change(item, status=status)
    page = (rui := visit("rui", "reviewer")).page
    page.get_by_role("button", name="Review").click()
    page.locator("#banner").wait_for()
    seen = [rui.picture]
    for _ in range(2):  # what is left for later comes again after the others
        page.keyboard.press("s")
        page.wait_for_function(
            "before => (document.querySelector('.viewer img')?.src ?? before) !== before", arg=seen[-1]
        )
        seen.append(rui.picture)
    assert seen[0] != seen[1] != seen[2]
    for note in ("a note", ""):
        page.locator("#progress", has_text=f"Waiting: {2 if note else 1}").wait_for()
        page.locator("#banner").wait_for()
        assert page.locator("#banner").inner_text() in (
            "No level has a majority of the votes. Your verdict decides.",
            "Someone called this image unsafe. Your verdict decides its level.",
        )
        rui.press("4")
        assert site.ask(lambda c: c.execute(select(func.count()).select_from(decisions)).scalar_one()) == (not note)
        page.get_by_label("Note").fill(note)
        page.get_by_label("Note").press("Enter")
    page.get_by_role("heading", name="Nothing to review").wait_for()
    rows = site.ask(lambda c: c.execute(select(decisions).order_by(decisions.c.at)).all())
    assert {row.item_id for row in rows} == set(waiting) and [row.level for row in rows] == [4, 4]
    assert [row.note for row in rows] == ["a note", None] and {row.person_id for row in rows} == {site.person("rui")}
    page.get_by_role("button", name="Back to voting").click()
    rui.settle()
    assert page.locator(".viewer img").is_visible()
    page.goto(f"http://127.0.0.1:{site.server.port}/#review")  # as the lead's page links to it
    page.reload()
    page.get_by_role("heading", name="Nothing to review").wait_for()


def test_captions_are_scored_by_keys_and_shown_as_text(site: Site, visit: Open) -> None:
    page = (zhu := visit("zhu", project="own_captions")).page
    texts = page.locator(".quoted").all_inner_texts()
    assert texts[:2] == ["一只猫。", "A cat."] and "<img src=x onerror=alert(1)>⟨U+202E⟩evil⟨U+0007⟩" in texts[2]
    zhu.press("5", "4", "3", "Enter")
    page.locator("#notice", has_text="Scores still missing: 1").wait_for()
    assert site.votes("zhu") == []
    zhu.press("2", "ArrowUp", "ArrowUp", "1")
    zhu.press("Enter")
    (row,) = site.until(lambda: site.votes("zhu"))
    scores = {part: [own["complete"], own["plain"]] for part, own in row.answer.items()}
    assert row.level is None and scores == {"a": [5, 1], "b": [3, 2]}
    page.locator(".scale :checked").first.wait_for(state="detached")
    zhu.press("z")  # the scores that are taken back need not be given anew
    assert page.locator(".scale :checked").count() == 4
    zhu.press("2", "Enter")
    rows = site.cast("zhu", 3)
    assert [row.answer and row.answer["a"]["complete"] for row in rows] == [5, None, 2]


def test_the_prompt_of_generated_images_comes_after_the_first_scores(site: Site, visit: Open) -> None:
    page = (an := visit("an", project="own_rating")).page
    page.locator(".viewer img").nth(3).wait_for()
    assert "cat" not in page.locator("body").inner_text() and page.locator(".row").count() == 4
    an.press("5", "4", "3", "2", "Enter")
    assert page.locator(".prompt .quoted").inner_text() == "a <b>cat</b>"
    an.press("1", "1", "2", "3")  # keys pass by the first scores, which stand
    page.locator(".row:not(:disabled)").nth(3).get_by_label("5: good").check()
    page.locator(".row:not(:disabled)").nth(2).get_by_label("4", exact=True).check()
    an.press("ArrowUp", "2", "Enter")
    (row,) = site.until(lambda: site.votes("an"))
    assert {part: (own["appeal"], own["faith"]) for part, own in row.answer.items()} == {
        "m0": (5, 1), "m1": (4, 2), "m2": (3, 4), "m3": (2, 5),
    }  # fmt: skip
    assert site.ask(lambda c: c.execute(select(func.count()).select_from(votes)).scalar_one()) > 1
