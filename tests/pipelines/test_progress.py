"""Progress in a log: few lines, and the last one tells the end."""

import pytest

from curation.tasks import Outcome
from pipelines import progress
from pipelines.progress import Progress


class Clock:
    """A clock that the test moves."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    moved = Clock()
    monkeypatch.setattr(progress, "time", moved)
    return moved


def test_a_log_gets_a_line_every_ten_seconds_and_a_last_one(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("score", 1, "rows") as one:
        clock.now += 9
        one.under_way(0)
        clock.now += 1
        one.under_way(0)
        clock.now += 10
        one.advance(1, Outcome(rows=1))
    with Progress("index", 102, "shards") as bar:
        for shard in range(102):
            clock.now += 0.5
            bar.advance(1, Outcome(rows=1))
            assert bar.done == shard + 1
    assert capsys.readouterr().err.splitlines() == [
        "score: 0 of 1 row, workers are starting",
        "score: 1 of 1 row, 0.05/s, done in 0:00:20",
        *(f"index: {20 * n} of 102 shards, 2.0/s, 0:00:{51 - 10 * n:02d} left" for n in range(1, 6)),
        "index: 102 of 102 shards, 2.0/s, done in 0:00:51",
    ]


def test_a_short_stage_writes_none(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("select", 3, "shards") as bar:
        clock.now += 9
        bar.advance(3, Outcome(rows=3))
    assert capsys.readouterr().err == ""
