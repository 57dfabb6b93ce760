"""An acknowledged vote survives the end of the process at any moment, and is on the disk before it is acknowledged."""

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import select

from annotation_ui.database.engine import Database
from annotation_ui.database.tables import slots, votes
from tests.queue_project import Project
from tests.soak import SEED, rounds

ROOT = Path(__file__).parents[3]

_VOTES = """
import sys
from random import Random
from annotation_ui.clock import system_clock
from annotation_ui.database.engine import Database
from annotation_ui.queue import claiming, voting
from annotation_ui.queue.rules import Rules
database, random, most = Database(sys.argv[1]), Random(1), int(sys.argv[2])
if len(sys.argv) > 3:
    from sqlalchemy import event
    event.listen(database.engine, "connect", lambda connection, _: connection.execute(sys.argv[3]))
for person in range(1, 4):
    while claims := database.write(lambda c: claiming.claim(c, system_clock, random, Rules(), 1, person, 4)).claims:
        for claim in claims:
            key = f"{person}-{claim.item_id}-{claim.lease}"
            vote = voting.Vote(claim.item_id, claim.lease, key, claim.revision, 3)
            saved = database.write(lambda c: voting.cast(c, system_clock, Rules(), person, vote))
            sys.stdout.write(f"{key} {saved.revision}\\n")
            sys.stdout.flush()
            if not (most := most - 1):
                sys.exit()
"""


def voting_process(
    url: str, most: int = 10**6, under: Sequence[str] = (), pragma: Sequence[str] = ()
) -> subprocess.Popen[str]:
    """Starts a process that votes, and writes a line for each vote once it is stored."""
    command = [*under, sys.executable, "-c", _VOTES, url, str(most), *pragma]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.soak
def test_no_acknowledged_vote_is_lost_when_the_process_is_killed(empty: Project, database_url: str) -> None:
    empty.fill(images=rounds(300, 3000))
    empty.database.close()
    random = Random(SEED)
    acknowledged: dict[str, int] = {}
    for _ in range(rounds(4, 60)):
        process = voting_process(database_url)
        assert process.stdout
        for line in process.stdout:  # killed at some place after one of its first votes
            key, revision = line.split()
            acknowledged[key] = int(revision)
            if random.random() < 0.05:
                break
        process.send_signal(signal.SIGKILL)
        for line in process.stdout:
            if line.endswith("\n"):
                acknowledged[line.split()[0]] = int(line.split()[1])
        process.wait()
        database = Database(database_url)  # recovers what the other has left
        with database.reading() as connection:
            stored = {vote.request: vote.revision for vote in connection.execute(select(votes))}
            voted = connection.execute(select(slots.c.item_id).where(slots.c.state == "voted")).all()
            if database.is_sqlite:
                assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
        database.close()
        assert acknowledged.items() <= stored.items()
        assert len(stored) == len(voted)  # none half done
    assert len(acknowledged) > 20


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs Debian's package strace")
@pytest.mark.parametrize("pragma", [(), ("PRAGMA synchronous=NORMAL",)], ids=["as it is", "broken on purpose"])
def test_a_vote_is_synced_to_the_disk_before_it_is_acknowledged(
    empty: Project, database_url: str, tmp_path: Path, pragma: tuple[str, ...]
) -> None:
    """Looks at the system calls: what killed processes leave is in the system's memory, so that it cannot show this."""
    if not empty.database.is_sqlite:
        pytest.skip("PostgreSQL syncs in processes of its own")
    empty.fill(images=12)
    empty.database.close()
    log = tmp_path / "calls"
    traced = "trace=pwrite64,write,fsync,fdatasync"
    strace = ("strace", "-f", "-o", str(log), "-s", "16", "-y", "-e", traced)
    process = voting_process(database_url, 10, strace, pragma)
    said, _ = process.communicate(timeout=120)
    if process.returncode and not said:
        pytest.skip("this machine forbids strace")
    assert process.returncode == 0 and len(said.splitlines()) == 10
    unsynced, acknowledged, too_early = False, 0, 0
    for call in log.read_text().splitlines():
        call = re.sub(r"^\d+ +", "", call)  # the thread
        if re.match(r"pwrite64\(\d+<[^>]*votes\.db-wal>", call):
            unsynced = True
        elif re.match(r"(f(data)?sync\(\d+<[^>]*votes\.db-wal>|<\.\.\. f(data)?sync resumed>)\) += 0", call):
            unsynced = False
        elif call.startswith("write(1<"):
            acknowledged += 1
            too_early += unsynced
    assert acknowledged == 10
    assert bool(too_early) is bool(pragma), f"{too_early} votes were acknowledged before they were synced"
