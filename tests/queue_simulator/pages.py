"""A page in a browser: what it believes to hold, and what it sends again until it is answered.

Two pages of one person know nothing of each other, so either may be stale.
"""

from dataclasses import dataclass, replace
from random import Random
from typing import Any

from annotation_ui.queue.rules import Refused
from tests.queue_simulator.requests import Request

PREFETCHED = 4
"""Number of items that a page asks for."""


@dataclass
class _Held:
    lease: str
    revision: int = 0
    state: str = "leased"


class Page:
    """One tab of a person.

    Args:
        number: its number among all pages, which makes its keys unique.
        levels: whether the task asks levels; otherwise the answer is an object.
    """

    def __init__(self, number: int, person: int, levels: bool) -> None:
        self.number, self.person, self.levels = number, person, levels
        self.held: dict[int, _Held] = {}
        self.unanswered: list[Request] = []
        self.done = False
        """Whether the queue has said that nothing is left."""
        self._keys = 0

    def act(self, random: Random) -> Request:
        """Returns what the page asks for next: mostly a vote, sometimes a second thought."""
        leased = [item for item, held in self.held.items() if held.state == "leased"]
        if len(leased) < random.randint(1, PREFETCHED):
            return Request("claim", self.person, wanted=PREFETCHED)
        if random.random() < 0.6:
            return self.cast(random, random.choice(leased))
        item = random.choice(list(self.held))
        held = self.held[item]
        request = Request("", self.person, item, held.lease)
        match held.state:
            case "leased":
                return replace(request, kind=random.choice(("skip", "renew", "release")))
            case "voted" if random.random() < 0.5:
                return self.cast(random, item)
            case "voted":
                return replace(request, kind="withdraw", key=self._key(), revision=held.revision)
        return replace(request, kind="unskip")

    def cast(self, random: Random, item: int) -> Request:
        """Returns a request for a vote, or the change of one."""
        held = self.held[item]
        level = random.choice((1, 2, 3, 3, 3, 3, 4, 5)) if self.levels else None
        answer = None if self.levels else {"better": random.choice(("a", "b"))}
        return Request("cast", self.person, item, held.lease, self._key(), held.revision, level, answer)

    def close(self) -> list[Request]:
        """Returns what the page sends when its tab is closed."""
        leases = [held.lease for held in self.held.values() if held.state == "leased"]
        return [Request("release", self.person, lease=lease) for lease in leases]

    def answered(self, request: Request, answer: Any) -> None:
        """Takes in an answer, which may come late or a second time."""
        if request in self.unanswered:
            self.unanswered.remove(request)
        if isinstance(answer, Refused):
            if answer.code in ("changed", "lease_lost", "no_item", "decided"):
                self.held.pop(request.item, None)  # the page asks anew what it holds
            return
        held = self.held.get(request.item)
        match request.kind:
            case "claim":
                self.done = not answer.claims
                for claim in answer.claims:
                    if claim.item_id not in self.held or self.held[claim.item_id].lease != claim.lease:
                        self.held[claim.item_id] = _Held(claim.lease, claim.revision)
            case "release":
                self.held = {item: held for item, held in self.held.items() if held.lease not in answer}
            case "cast" | "withdraw" if held and held.revision < answer.revision:
                held.revision, held.state = answer.revision, "voted" if request.kind == "cast" else "leased"
            case "skip" | "unskip" if held:
                held.state = "skipped" if request.kind == "skip" else "leased"

    def _key(self) -> str:
        self._keys += 1
        return f"{self.number}-{self._keys}"
