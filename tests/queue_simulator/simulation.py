"""One run: people vote on images while requests get lost, doubled and late, clocks jump, and the database fails.

All that happens is drawn from one seed. At the end the trouble stops, everyone goes on, and every image must have its
votes.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from annotation_ui.queue.claiming import Claimed
from annotation_ui.queue.rules import MINUTE, Refused
from tests.queue_simulator.checking import CLOSED, Broken, Checker, require
from tests.queue_simulator.pages import Page
from tests.queue_simulator.requests import WITH_KEY, Request, perform
from tests.queue_simulator.scenario import START, draw, image, populate
from tests.queue_simulator.storage import Crashed, Storage

SERVERS = 2
HOUR = 60 * MINUTE


@dataclass
class _Message:
    """A request that is still on its way."""

    request: Request
    page: Page | None


class Simulation:
    """A run of one seed.

    Args:
        tell: is given a line for each thing that happens.
    """

    def __init__(self, seed: int, storage: Storage, tell: Callable[[str], object] | None = None) -> None:
        self.random = Random(seed)
        self.storage, self.tell = storage, tell
        self.scenario = draw(self.random)
        storage.reset()
        storage.transact(lambda connection: populate(self.scenario, connection))
        self.checker = Checker(storage.rows, self.scenario.task, self.scenario.rules.qualify_items)
        self.checker.committed(Request("import"), START)
        self.now = START
        self.offsets = [0] * SERVERS
        self.trouble = self.scenario.trouble
        self.late: list[_Message] = []
        self.pages: list[Page] = []
        self.numbered = 0
        self.staying: list[int] = []
        self.counts: Counter[str] = Counter()
        for person in range(1, self.scenario.people + 1):
            self._open(person)
            if self.random.random() < 0.3:
                self._open(person)

    def run(self) -> Counter[str]:
        """Runs to the end, and returns the counts of Jepsen's checker of queues. Raises Broken."""
        for _ in range(self.scenario.steps):
            self._step()
        self.trouble = 0.0
        self.counts["recovered"] = self.checker.unanswered()
        self._finish()
        return self.checker.totals() + self.counts

    def _step(self) -> None:
        """Lets one thing happen."""
        random = self.random
        self.now += random.choice((0, 50, 2_000, 20_000))
        chance = random.random()
        if chance < 0.72:
            self._page_acts(random.choice(self.pages))
        elif chance < 0.80 and self.late:
            message = self.late.pop(random.randrange(len(self.late)))
            self._deliver(message)
        elif chance < 0.86:
            self._send(Request("settle"), None)
        elif chance < 0.91:
            self._review(random.choice(self.scenario.reviewers))
        elif chance < 0.94:
            self._clocks_jump()
        elif chance < 0.97:
            self._tab_closes(random.choice(self.pages))
        else:
            self._lead_acts()

    def _page_acts(self, page: Page) -> None:
        """A page sends again what was not answered, or something new, or both."""
        if page.unanswered and self.random.random() < 0.7:
            self._send(self.random.choice(page.unanswered), page)
            return
        request = page.act(self.random)
        if request.kind in WITH_KEY:
            page.unanswered.append(request)
        self._send(request, page)

    def _review(self, person: int) -> None:
        item = self._execute(Request("review", person))
        if isinstance(item, int):
            self.numbered += 1
            level = self.random.randint(1, 5)
            self._send(Request("decide", person, item, key=f"d{self.numbered}", level=level), None)

    def _clocks_jump(self) -> None:
        jump = self.random.choice((-HOUR, -MINUTE, MINUTE, 9 * MINUTE, 11 * MINUTE, HOUR))
        if self.random.random() < 0.5:
            self.offsets[self.random.randrange(SERVERS)] = jump
        else:
            self.now += abs(jump)
        self._note("clocks:", self.now - START, self.offsets)

    def _tab_closes(self, page: Page) -> None:
        """A tab is closed, or its machine dies; what it has not been answered may still arrive."""
        self.pages.remove(page)
        if self.random.random() < 0.7:
            for request in page.close():
                self._send(request, None)
        self._open(page.person)

    def _lead_acts(self) -> None:
        person = self.random.randint(1, self.scenario.people)
        kind = self.random.choice(
            ("pause", "resume", "resume", "retract", "return_leases", "try_again", "import", "lose_image")
        )
        item = self.random.choice(list(self.checker.items)) if kind == "lose_image" else 0
        if item and self.checker.items[item].kind != "image":
            return
        rows: tuple[dict[str, Any], ...] = ()
        if kind == "import":
            self.numbered += 1
            rows = (image(self.random, 1000 + self.numbered, self.scenario.asked),)
        self._execute(Request(kind, person, item, rows=rows))

    def _send(self, request: Request, page: Page | None) -> None:
        """Sends a request over a network that loses, doubles and delays requests, and loses answers."""
        message, fate = _Message(request, page), self.random.random() / (self.trouble or 1e-9)
        if fate < 0.25:
            self._note("lost:", request)
        elif fate < 0.5:
            self._execute(request)  # and the answer is lost, or the server dies before it answers
        elif fate < 0.7:
            self.late.append(message)
        elif fate < 1.0:
            self.late.append(message)
            self._deliver(message)
        else:
            self._deliver(message)

    def _deliver(self, message: _Message) -> None:
        answer = self._execute(message.request)
        if answer is Crashed:
            return
        if message.request.kind in WITH_KEY and not isinstance(answer, Refused):
            self.checker.acknowledge(message.request, answer)
        if message.page is not None:
            message.page.answered(message.request, answer)

    def _execute(self, request: Request, beside: bool = False, offset: int | None = None) -> Any:
        """Lets a server execute a request, and checks what has become of the database.

        Args:
            beside: whether another transaction is under way.
            offset: of the server's clock; by default, that of some server.

        Returns:
            the answer; Refused; or Crashed, if the database failed.
        """
        random, checker, storage = self.random, self.checker, self.storage
        offset = random.choice(self.offsets) if offset is None else offset
        now = self.now + offset
        if request.key:
            checker.attempted.setdefault(request.key, request)
        fail_at = random.randint(1, 14) if random.random() < self.trouble / 4 else 0
        between = None
        if not beside and not fail_at and random.random() < self.trouble / 2:
            between = self._something_else(request, offset)
        before = storage.dump() if fail_at else None
        try:
            answer = storage.transact(
                lambda connection: perform(connection, lambda: self.now + offset, random, self.scenario.rules, request),
                fail_at,
                between,
                before_lock=random.randint(1, 2) if request.kind == "claim" else 1,
            )
        except Crashed:
            self._note("failed:", request)
            require(storage.dump() == before, "half done:", request)
            return Crashed
        except Refused as refused:
            self._note("refused:", request, refused.code)
            self.counts["refused"] += 1
            checker.refused(request, refused.code, now)
            return refused
        self._note(request, "→", answer)
        checker.committed(request, now, answer)
        return answer

    def _something_else(self, request: Request, offset: int) -> Callable[[], object]:
        """Returns what happens beside a request: the same one a second time, or the next act of some page."""
        if request.kind in (*WITH_KEY, "settle", "skip", "unskip") and self.random.random() < 0.5:
            return lambda: self._execute(request, beside=True)
        page = self.random.choice(self.pages)
        other = page.act(self.random)
        if request.kind == "claim" and other.person == request.person:
            return lambda: None  # the person is locked, so it would wait
        if other.kind in WITH_KEY:
            page.unanswered.append(other)

        def run_beside() -> None:
            if request.kind == "claim":
                self.checker.committed(request, self.now + offset, Claimed([], "ready"))  # it has renewed leases
            # A server with another clock would wait here to take back a lease that was renewed, and locked, just now.
            self._execute(other, beside=True, offset=offset)

        return run_beside

    def _open(self, person: int) -> None:
        self.numbered += 1
        self.pages.append(Page(self.numbered, person, self.scenario.task == "levels"))

    def _note(self, *what: object) -> None:
        if self.tell:
            self.tell(" ".join(map(str, what)))

    def _finish(self) -> None:
        """Lets all but some who never come back go on without trouble to the end; then looks at every image."""
        self.offsets = [0] * SERVERS
        for message in self.late:
            self._deliver(message)
        for page in self.pages:
            for request in list(page.unanswered):
                self._deliver(_Message(request, page))
            require(not page.unanswered, "never answered:", page.unanswered)
        self._execute(Request("resume"))
        self.now += 3 * HOUR
        self.staying = [n for n in range(1, self.scenario.people + 1) if self.random.random() < 0.8]
        self.pages = [Page(10_000 + person, person, self.scenario.task == "levels") for person in self.staying]
        busy = True
        while busy and any(item.status == "open" and item.kind == "image" for item in self.checker.items.values()):
            busy = any([self._works(page) for page in self.pages])  # a list: all of them work
            self.now += 15 * MINUTE
        self._execute(Request("settle"))
        for person in self.scenario.reviewers:
            for item in [item.id for item in self.checker.items.values() if item.status in ("tie", "safety_review")]:
                self._send(Request("decide", person, item, key=f"e{item}-{person}", level=3), None)  # also own ones
        for item in self.checker.items.values():
            if item.kind == "image":
                self._check_complete(item.id)

    def _works(self, page: Page) -> bool:
        """Lets a person vote on all that the queue gives; returns whether it was anything."""
        page.held.clear()
        self._deliver(_Message(Request("claim", page.person, wanted=10), page))
        for item in list(page.held):
            self._deliver(_Message(page.cast(self.random, item), page))
        return bool(page.held)

    def _check_complete(self, number: int) -> None:
        """An image has its votes, or all who may vote on it have been asked."""
        item = self.checker.items[number]
        if item.status in ("open", "closing"):
            require(item.status == "open", "never closed:", item)
            for person in self.staying:
                slot = self.checker.slots.get((number, person))
                asked = slot is not None and slot.state in ("voted", "skipped", "retracted")
                require(asked or not self._may_vote(person), "votes are missing, and nobody is asked:", item, person)
        elif item.status in CLOSED:
            require(item.voted == item.asked, "closed without its votes:", item)
            if item.status != "decided":
                voted = {person for own, person in self.checker.slots if own == number}
                require(voted >= set(self.scenario.reviewers), "no verdict:", item)

    def _may_vote(self, person: int) -> bool:
        rules, tested = self.scenario.rules, self.checker.tested.get(person)
        return not rules.qualify_items or (tested is not None and tested[1] == "passed")


def simulate(seed: int, storage: Storage, tell: Callable[[str], object] | None = None) -> Counter[str]:
    """Runs a seed; returns its counts. Raises Broken, with the seed."""
    try:
        return Simulation(seed, storage, tell).run()
    except Broken as broken:
        raise Broken(f"seed {seed}: {broken}") from None
    except Exception as error:
        raise Broken(f"seed {seed}: an error reached the caller: {type(error).__name__}: {error}") from error
