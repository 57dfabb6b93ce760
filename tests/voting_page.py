"""A server with three tasks, and one person's browser, for tests of the voting page."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from annotation_ui.accounts.people import invite
from annotation_ui.clock import system_clock
from annotation_ui.database.engine import Database
from annotation_ui.database.tables import items, people, projects, slots, votes
from annotation_ui.queue.claiming import take
from tests.annotators import Server

CRITERION = "  - {name: NAME, title: {en: EN, zh: ZH}, help: {en: Look well., zh: 看清楚。}, needs_prompt: PROMPT,\n"
CRITERION += '     ends: {"1": {en: bad, zh: 差}, "5": {en: good, zh: 好}}}\n'
HOSTILE = "<img src=x onerror=alert(1)>\u202eevil\u0007 \u05d0\u05d1"
"""A caption that would be an element, turns the direction of what follows, and holds a control character."""


def task(name: str, layout: str, *criteria: tuple[str, str, str, bool]) -> str:
    """Writes the declaration of a task that is answered by scores."""
    rows = "".join(
        CRITERION.replace("NAME", key).replace("EN", en).replace("ZH", zh).replace("PROMPT", str(prompt).lower())
        for key, en, zh, prompt in criteria
    )
    head = f"name: {name}\ntitle: {{en: Scores of {layout}, zh: 评分 {layout}}}\nsource: selection\nlayout: {layout}\n"
    return (
        f"{head}answer: scores\ncriteria:\n{rows}skip_reasons: [{{name: unsure, title: {{en: Unsure, zh: 不确定}}}}]\n"
    )


@dataclass
class Site:
    """A server and its database, to which the tests look from outside."""

    server: Server
    database: Database

    def link(self, name: str, role: str = "annotator") -> str:
        """Invites a person; returns the personal link."""
        _, token = self.database.write(lambda c: invite(c, system_clock, name, role))
        return f"http://127.0.0.1:{self.server.port}/#join={token}"

    def person(self, name: str) -> int:
        """Returns a person's id."""
        return int(self.ask(lambda c: c.execute(select(people.c.id).where(people.c.name == name)).scalar_one()))

    def project(self, name: str) -> int:
        """Returns a project's id."""
        return int(self.ask(lambda c: c.execute(select(projects.c.id).where(projects.c.task == name)).scalar_one()))

    def ask(self, work: Callable[[Connection], Any]) -> Any:
        """Reads from the database."""
        return self.database.read(work)

    def votes(self, name: str) -> list[Any]:
        """Returns a person's revisions of votes, the oldest first."""
        own = select(votes).where(votes.c.person_id == self.person(name)).order_by(votes.c.id)
        return list(self.ask(lambda c: c.execute(own).all()))

    def cast(self, name: str, count: int) -> list[Any]:
        """Waits until a person has so many revisions of votes; returns them."""

        def all_there() -> list[Any]:
            found = self.votes(name)
            return found if len(found) == count else []

        return list(self.until(all_there))

    def slot(self, name: str, item: int) -> Any:
        """Returns a person's part in an item."""
        mine = select(slots).where(slots.c.person_id == self.person(name), slots.c.item_id == item)
        return self.ask(lambda c: c.execute(mine).one())

    def change(self, item: int, **values: Any) -> None:
        """Changes an item's row."""
        self.database.write(lambda c: c.execute(update(items).where(items.c.id == item).values(**values)))

    def hold(self, name: str, project: str = "levels", **values: Any) -> int:
        """Lets a person hold a fresh item, changed as told, which the page then shows first; returns its id."""
        person, place = self.person(name), Random().randrange(1000)
        fresh = select(items).where(
            items.c.project_id == self.project(project), items.c.taken == 0, items.c.status == "open"
        )

        def work(connection: Connection) -> int:
            found = connection.execute(fresh).all()
            row = found[place % len(found)]
            if values:
                connection.execute(update(items).where(items.c.id == row.id).values(**values))
            now = system_clock()
            take(connection, row, person, now, now + 600_000)
            return int(row.id)

        return self.database.write(work)

    def until(self, holds: Callable[[], Any], seconds: float = 20) -> Any:
        """Waits until something holds; returns it."""
        end = time.monotonic() + seconds
        while not (found := holds()):
            assert time.monotonic() < end, "it never came"
            time.sleep(0.02)
        return found


def add_scored(connection: Connection, levels: int, captions: int, rating: int) -> None:
    """Gives two projects items with two captions, and items of four pictures and a prompt, of the levels' pictures."""
    connection.execute(delete(items).where(items.c.project_id.in_((captions, rating))))
    pictures = select(items.c.place).where(items.c.project_id == levels)
    places = [row.place for row in connection.execute(pictures)]
    texts = [{"id": "a", "caption_zh": "一只猫。", "caption_en": "A cat."}, {"id": "b", "caption_en": HOSTILE}]
    for number, place in enumerate(places[:30]):
        four = [places[(number + k) % len(places)] for k in range(4)]
        group = {"pictures": four, "parts": [{"id": f"m{k}"} for k in range(4)], "prompt": "a <b>cat</b>"}
        for project, content in ((captions, {"parts": texts}), (rating, group)):
            values = {"project_id": project, "key": str(number), "place": place, "content": content}
            connection.execute(insert(items).values(values | {"asked": 3, "shuffle": number}))


@dataclass
class Visit:
    """One person's browser, with what went wrong in it."""

    context: Any
    page: Any
    wrong: list[str]

    def settle(self) -> None:
        """Waits for a picture, or for what stands in its place."""
        self.page.wait_for_selector(".viewer img, #state:not([hidden]):not([data-state=loading]), dialog[open]")

    @property
    def picture(self) -> str:
        """The address of the picture in view, which tells one from another."""
        return str(self.page.locator(".viewer img").first.get_attribute("src"))

    def press(self, *keys: str) -> None:
        """Presses keys, each once the picture of the one before is there."""
        for key in keys:
            self.page.wait_for_selector(".viewer img")
            self.page.keyboard.press(key)
