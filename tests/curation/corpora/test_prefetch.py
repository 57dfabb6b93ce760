"""Pictures of a shard: read once, decoded once for each reduction, ahead of use where there are threads for it."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from curation import images
from curation.corpora.listing import open_source
from curation.corpora.prefetch import Pictures
from curation.errors import RowError
from curation.images import Picture
from curation.scoring.shard_pass import BATCH
from curation.scoring.stage import plan
from curation.tasks import Demand, Watch
from tests import bench


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    members = {f"{n:03d}.jpg": bench.encoded(bench.picture(n, (160, 120))) for n in range(3 * BATCH)}
    members["007.jpg"] = members["007.jpg"][:1500]
    bench.write_tar(tmp_path / "raw" / "00000.tar", members)
    return tmp_path


def pictures(folder: Path, threads: int) -> Pictures:
    made = bench.recipe(folder)
    bench.index(made)
    samples = pq.read_table(folder / "work" / "samples" / "c" / "00000.parquet")
    return Pictures(open_source(made.corpora[0], "00000", str(folder / "raw" / "00000.tar")), samples, threads)


@pytest.mark.parametrize("threads", [1, 4])
def test_a_picture_is_read_once_and_decoded_once(folder: Path, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    held = pictures(folder, threads)
    decoded: list[int] = []
    real = images.decode
    monkeypatch.setattr(images, "decode", lambda data, *rest: decoded.append(len(data)) or real(data, *rest))
    held.ahead(range(10), 100)
    first = held.of(3, 100)
    assert isinstance(first, Picture) and first.bgr(100).shape == (120, 160, 3)
    assert held.of(3, 100) is first and held.of(3, 90) is first
    broken = held.of(7, 100)
    assert isinstance(broken, RowError) and broken.reason == "truncated"
    held.drop(range(10))
    held.close()
    assert len(decoded) == (10 if threads > 1 else 2)  # each of those asked for, once
    assert held.of(3, 100) is not first


def test_threads_go_with_a_gpu_alone() -> None:
    assert Demand(cpus=8, gpus=1).threads == 8
    assert Demand(cpus=0.5, gpus=0.5).threads == 1
    assert Demand(cpus=8).threads == 1


def test_decoding_ahead_changes_no_score_and_notes_both_batches(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A death while both are in hand must find its row among those noted."""
    noted: list[tuple[int, int, int]] = []
    real = Watch.note
    monkeypatch.setattr(
        Watch,
        "note",
        lambda self, pid, start=0, stop=0, count=None: (
            noted.append((start, stop, count)) or real(self, pid, start, stop, count)
        ),
    )
    scores = []
    given: dict[str, Any] = {"signals": {"photo": {}, "faces": {}}, "select": {"where": {"sharp": "sharpness >= 0"}}}
    for name, cpus, gpus in (("plain", 1, 0), ("beside a gpu", 2, 1)):
        made = bench.recipe(folder, workspace=f"./{name}", engine="ray", **given,
                            ray={"resources": {"stages": {"score": {"cpus": cpus, "gpus": gpus}}}})  # fmt: skip
        bench.index(made)
        noted.clear()
        (task,) = plan(bench.opened(made)).tasks
        assert task.run(Watch()).failed["photo truncated"] == 1
        scores.append(pq.read_table(Path(made.workspace) / "signals" / "photo" / "c" / "00000.parquet").to_pydict())
    assert scores[0] == scores[1] and np.isfinite([s for s in scores[0]["sharpness"] if s is not None]).all()
    assert noted == [(0, 3 * BATCH, 2 * BATCH), (2 * BATCH, 3 * BATCH, BATCH), (0, 0, None)]


def test_suspects_are_taken_alone_and_nothing_beside_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = bench.recipe(folder, engine="ray", ray={"resources": {"stages": {"score": {"cpus": 2, "gpus": 1}}}})
    bench.index(made)
    ahead: list[object] = []
    monkeypatch.setattr(Pictures, "ahead", lambda self, rows, side: ahead.append(rows))
    (task,) = plan(bench.opened(made)).tasks
    task.run(Watch(suspects=frozenset({5})))
    assert not ahead
