"""Checks, after every transaction, that the database holds exactly the votes that were asked for and given.

The rules are written down here a second time, from what the tool promises, and not from the queue's code.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tests.queue_simulator.requests import WITH_KEY, Request

ITEMS = "select id, kind, asked, taken, voted, status, level, decide_at from items order by id"
SLOTS = "select item_id, person_id, slot, state, lease, expires_at, level from slots order by item_id, person_id"
VOTES = "select id, item_id, person_id, round, revision, level, answer, at, request from votes order by id"
DECISIONS = "select item_id, level, kind, person_id, at, request from decisions order by item_id"
QUALIFICATIONS = "select person_id, state, correct, answered from qualifications order by person_id"
CLOSED = ("decided", "tie", "safety_review")


class Item(NamedTuple):
    """A row of `items`."""

    id: int
    kind: str
    asked: int
    taken: int
    voted: int
    status: str
    level: int | None
    decide_at: int | None


class Slot(NamedTuple):
    """A row of `slots`: a person's part in an item."""

    item: int
    person: int
    slot: int | None
    state: str
    lease: str
    expires_at: int | None
    level: int | None


class Stored(NamedTuple):
    """A row of `votes`."""

    id: int
    item: int
    person: int
    round: int
    revision: int
    level: int | None
    answer: Any
    at: int
    key: str | None


class Broken(AssertionError):
    """The queue has broken one of its promises."""


def require(holds: object, *what: object) -> None:
    """Raises Broken, which tells `what`, unless something holds."""
    if not holds:
        raise Broken(" ".join(map(str, what)))


class Checker:
    """Knows what was asked and acknowledged so far, and compares the database with it.

    Args:
        rows: returns what an SQL query finds.
        task: the project's task, `levels` or another.
        qualify_items: number of items of the entry test.
    """

    def __init__(self, rows: Callable[[str], list[tuple[Any, ...]]], task: str, qualify_items: int = 0) -> None:
        self.rows, self.task, self.qualify_items = rows, task, qualify_items
        self.items: dict[int, Item] = {}
        self.slots: dict[tuple[int, int], Slot] = {}
        self.votes: list[Stored] = []
        self.decisions: dict[int, tuple[Any, ...]] = {}
        self.tested: dict[int, tuple[Any, ...]] = {}
        self.attempted: dict[str, Request] = {}
        self.answers: dict[str, Any] = {}
        self.acknowledged: set[str] = set()
        self._by_key: dict[str, Stored] = {}
        self._revisions: dict[tuple[int, int], list[Stored]] = {}

    def committed(self, request: Request, now: int, answer: Any = None) -> None:
        """Checks the state after a transaction that did what the request asks for, at the time `now`."""
        items, slots = self.items, self.slots
        self.items = {row[0]: Item(*row) for row in self.rows(ITEMS)}
        self.slots = {row[:2]: Slot(*row) for row in self.rows(SLOTS)}
        self.tested = {row[0]: row for row in self.rows(QUALIFICATIONS)}
        self._check_votes(request)
        self._check_decisions(request)
        self._check_counts()
        for key in {**slots, **self.slots}:
            if (before := slots.get(key)) != (after := self.slots.get(key)):
                self._check_slot(before, after, request, now)
        for item in self.items.values():
            if (old := items.get(item.id)) != item:
                self._check_item(old, item, request)
        self._check_tested()
        if request.kind in WITH_KEY:
            self._check_answer(request, answer)
        if request.kind == "claim":
            for claim in answer.claims:
                slot = self.slots.get((claim.item_id, request.person))
                require(slot and (slot.state, slot.lease) == ("leased", claim.lease), "a claim without a lease", claim)
                known = len(self._revisions.get((claim.item_id, request.person), ()))
                require(claim.revision == known, "a claim that knows", claim.revision, "revisions of", known)

    def acknowledge(self, request: Request, answer: Any) -> None:
        """Notes that a client has got the answer to a request; what it asked for must be stored."""
        require(self.answers.get(request.key) == answer, "another answer to the same key:", request, answer)
        self.acknowledged.add(request.key)

    def refused(self, request: Request, code: str, now: int) -> None:
        """Checks that the queue was right to refuse a request."""
        item, slot = self.items.get(request.item), self.slots.get((request.item, request.person))
        state = slot.state if slot else None
        taken = item is None or (item.kind == "image" and not (item.status == "open" and item.taken < item.asked))
        closed = item is not None and item.kind == "image" and item.status not in ("open", "closing")
        closing = item is not None and item.status == "closing" and (item.decide_at or 0) <= now
        given = self._revisions.get((request.item, request.person), [])
        earlier = self.attempted.get(request.key)
        right = {
            "no_item": slot is None or slot.lease != request.lease,
            "lease_lost": state in ("skipped", "retracted") or (state == "returned" and taken),
            "decided": item is not None and (closed or closing or request.kind == "decide"),
            "changed": request.revision != len(given),
            "no_vote": state != "voted",
            "voted": state == "voted",
            "own_vote": bool(given),
            "key_reused": earlier is not None and earlier != request,
        }[code]
        require(right, "refused without a reason:", code, request, item, slot)
        require(request.key not in self.answers or code == "key_reused", "a repetition was refused:", code, request)

    def unanswered(self) -> int:
        """Returns the number of stored requests of which no client knows yet."""
        stored = set(self._by_key) | {row[5] for row in self.decisions.values()}
        return len(stored - self.acknowledged)

    def totals(self) -> Counter[str]:
        """Counts requests as Jepsen's checker of queues does, and raises Broken if votes are lost or doubled."""
        stored = [vote.key for vote in self.votes if vote.key] + [row[5] for row in self.decisions.values() if row[5]]
        keys = set(stored)
        counts = Counter(
            attempted=len(self.attempted),
            acknowledged=len(self.acknowledged),
            lost=len(self.acknowledged - keys),
            unexpected=len(keys - set(self.attempted)),
            duplicated=len(stored) - len(keys),
        )
        require(not (counts["lost"] or counts["unexpected"] or counts["duplicated"]), dict(counts))
        return counts

    def _check_votes(self, request: Request) -> None:
        """Votes are only added, each for a request, and each the next revision."""
        rows = self.rows(VOTES)
        require(rows[: len(self.votes)] == self.votes, "a stored vote has changed or is gone")
        for row in rows[len(self.votes) :]:
            vote = Stored(*row)
            revisions = self._revisions.setdefault((vote.item, vote.person), [])
            require(vote.revision == len(revisions) + 1 and vote.round == 1, "not the next revision:", vote)
            if vote.key is None:
                require(request.kind == "retract" and request.person == vote.person, "whose vote?", vote, request)
                require(vote.level is None and vote.answer is None, "a retraction names an answer:", vote)
            else:
                self._check_stored(vote, request)
            revisions.append(vote)
            self.votes.append(vote)

    def _check_stored(self, vote: Stored, request: Request) -> None:
        answer = json.loads(vote.answer) if isinstance(vote.answer, str) else vote.answer
        wanted = (request.item, request.person, request.level, request.answer, request.key, request.revision + 1)
        require(request.kind in ("cast", "withdraw"), "a vote that nobody gave:", vote, request)
        require((vote.item, vote.person, vote.level, answer, vote.key, vote.revision) == wanted, vote, "≠", request)
        require(vote.key not in self._by_key, "two votes for one key:", vote)
        self._by_key[vote.key or ""] = vote

    def _check_answer(self, request: Request, answer: Any) -> None:
        """The same key has the same answer, which tells what is stored."""
        first = self.answers.setdefault(request.key, answer)
        require(first == answer, "the same key, another answer:", request, first, answer)
        if request.kind == "decide":
            row = self.decisions.get(request.item)
            wanted = (answer.item_id, answer.level, answer.kind, request.person, answer.at, request.key)
            require(row == wanted, "acknowledged, but not stored:", request, row)
        else:
            vote = self._by_key.get(request.key)
            require(vote and (vote.item, vote.revision, vote.at) == (answer.item_id, answer.revision, answer.at),
                    "acknowledged, but not stored:", request, answer, vote)  # fmt: skip

    def _check_decisions(self, request: Request) -> None:
        rows = {row[0]: row for row in self.rows(DECISIONS)}
        for item, row in self.decisions.items():
            require(rows.get(item) == row, "a decision has changed:", row)
        for item in rows.keys() - self.decisions.keys():
            _, level, kind, person, _, key = rows[item]
            wanted = (request.kind, request.item, request.level, request.person, request.key)
            require(("decide", item, level, person, key) == wanted, "a decision that nobody gave:", rows[item])
            require((item, person) not in self._revisions, "the person has voted on it:", rows[item])
        self.decisions = rows

    def _check_counts(self) -> None:
        """An item counts the slots that are held, which are never more than the votes asked."""
        held, voted = Counter[int](), Counter[int]()
        for slot in self.slots.values():
            if slot.slot is not None:
                held[slot.item] += 1
                voted[slot.item] += slot.state == "voted"
            require((slot.slot is not None) == (slot.state in ("leased", "voted")), "a slot held by nobody:", slot)
            revisions = self._revisions.get((slot.item, slot.person))
            standing = revisions[-1] if revisions else None
            if slot.state == "voted":
                require(standing and slot.level == standing.level, "not the vote that stands:", slot, standing)
                require(standing.level is not None or standing.answer is not None, "withdrawn, but counted:", slot)
            elif standing and self.items[slot.item].kind == "image":
                require(standing.level is None and standing.answer is None, "a vote that does not count:", standing)
        for item in self.items.values():
            if item.kind == "image":
                require((item.taken, item.voted) == (held[item.id], voted[item.id]), "miscounted:", item)
                require(item.taken <= item.asked, "more votes and leases than asked:", item)

    def _check_slot(self, before: Slot | None, after: Slot | None, request: Request, now: int) -> None:
        """A person's part changes only by the person's own request, a lead's, or when a lease has expired."""
        require(after is not None, "a part in an item is gone:", before)
        assert after is not None
        old, new, kind = before.state if before else None, after.state, request.kind
        own = request.person == after.person
        item = self.items[after.item]
        expired = before is not None and before.expires_at is not None and before.expires_at <= now
        mine = own and (request.item == after.item or kind in ("claim", "renew", "release"))
        allowed = {
            ("leased", "returned"): (own and kind in ("release", "return_leases")) or (kind == "claim" and expired),
            ("leased", "leased"): own and kind in ("claim", "renew"),
            ("leased", "skipped"): mine and kind == "skip",
            ("returned", "skipped"): mine and kind == "skip",
            ("leased", "voted"): mine and kind == "cast",
            ("returned", "voted"): mine and kind == "cast",
            ("voted", "voted"): mine and kind == "cast",
            ("voted", "leased"): mine and kind == "withdraw",
            ("voted", "retracted"): own and (kind == "retract" or (kind == "try_again" and item.kind == "gold")),
            ("returned", "leased"): mine and kind in ("claim", "unskip"),
            ("skipped", "leased"): mine and kind == "unskip",
            (None, "leased"): mine and kind == "claim",
        }  # fmt: skip
        require(allowed.get((old, new)), "not by this request:", before, "→", after, request)

    def _check_item(self, old: Item | None, item: Item, request: Request) -> None:
        """An item closes with all its votes, by their majority, and never opens again."""
        was = old.status if old else None
        if item.kind == "gold":
            require(item.status == "open", "a gold item is never closed:", item)
            return
        if item.status == "closing":
            require(item.voted == item.asked and item.decide_at is not None, "closing too early:", item)
        if item.status == "open":
            require(item.voted < item.asked and item.decide_at is None, "all votes, but open:", item)
        if was in (*CLOSED, "unavailable"):
            by_decision = was != "decided" and request.kind == "decide" and request.item == item.id
            kept = old is not None and old._replace(taken=item.taken) == item  # leases on a lost image may run out
            require(by_decision or kept, "it was closed:", old, "→", item, request)
        elif item.status in CLOSED:
            require(request.kind == "settle" and was == "closing", "closed by", request, old, "→", item)
            levels = [slot.level for slot in self.slots.values() if slot.item == item.id and slot.state == "voted"]
            verdict = decide(levels, item.asked) if self.task == "levels" else (None, "decided")
            require((item.level, item.status) == verdict, "not the votes' verdict:", item, levels)
        if item.id in self.decisions:
            require((item.status, item.level) == ("decided", self.decisions[item.id][1]), "against the verdict:", item)

    def _check_tested(self) -> None:
        """Who is being tested, or has failed, holds no image."""
        if self.qualify_items:
            passed = {row[0] for row in self.tested.values() if row[1] == "passed"}
            for slot in self.slots.values():
                if slot.person not in passed:
                    require(self.items[slot.item].kind == "gold", "given to someone untested:", slot)
            for row in self.tested.values():
                require(0 <= row[2] <= row[3] <= self.qualify_items, "miscounted test:", row)


def decide(levels: Sequence[int], asked: int) -> tuple[int | None, str]:
    """The rule once more, so that the product's is held against it: the level and the status."""
    if 1 in levels:
        return None, "safety_review"
    if len(levels) < asked:
        return None, "incomplete"
    for level in set(levels):
        if levels.count(level) > len(levels) / 2:
            return level, "decided"
    return None, "tie"
