"""The workspace's own files, damaged by the disk: made again or named, never believed."""

import io
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.captions import stage as captions
from curation.errors import StageError, UserError
from curation.recipe import Recipe
from curation.selection.stage import Selection
from curation.shards import stage
from curation.tasks import Watch
from curation.workspace import Workspace
from curation.workspace.files import footer
from curation.workspace.ledger import Ledger
from tests import bench
from tests.hostile import fuzz, patched


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path]:
    """A small finished job, and a copy of its workspace."""
    folder = tmp_path_factory.mktemp("job")
    members: dict[str, bytes] = {}
    for n in range(4):
        members |= {f"{n}.jpg": bench.encoded(bench.picture(n, (96, 72))), f"{n}.txt": b"picture %d" % n}
    bench.write_tar(folder / "raw" / "00000.tar", members)
    (folder / "files").mkdir()
    for n in range(3):
        (folder / "files" / f"{n}.jpg").write_bytes(bench.encoded(bench.picture(10 + n, (96, 72))))
    made = bench.recipe(
        folder,
        corpora=[{"name": "c", "path": "./raw"}, {"name": "f", "path": "./files", "format": "folder"}],
        signals={"photo": {}, "aesthetic": {}},
        select={"where": {"bright": "brightness >= 0"}},
    )
    run(made)
    shutil.copytree(folder / "work", folder / "kept")
    return made, folder / "kept"


def run(made: Recipe, stages: str = "index score select caption build") -> None:
    """Runs some of the stages in this process."""
    if "index" in stages:
        bench.index(made)
    if "score" in stages:
        bench.score(made)
    if "select" in stages:
        Selection(bench.opened(made)).write()
    if "caption" in stages:
        ledger = Ledger(Workspace(made.workspace), "caption", writable=True)
        for task in captions.plan(bench.opened(made)).tasks:
            ledger.add(task.corpus, task.shard, task.run(Watch()).line)
    plans = stage.plan(bench.opened(made))
    ledger = Ledger(Workspace(made.workspace), "build-shards", writable=True)
    for phase in plans:
        for shard in phase.stale:
            ledger.add(shard.corpus, shard.shard, shard.run(Watch()).line)
    stage.finish(bench.opened(made), plans)


def page_of(path: Path) -> int:
    """The place of the first column's first page."""
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    return min(at for at in (column.dictionary_page_offset, column.data_page_offset) if at)


def rewritten(path: Path, change: Callable[[pa.Table], pa.Table]) -> bytes:
    """The file with other rows under the same footer, as an old backup may be."""
    table = pq.read_table(path)
    buffer = io.BytesIO()
    pq.write_table(change(table).replace_schema_metadata(table.schema.metadata), buffer, compression="zstd")
    return buffer.getvalue()


FAULTS: dict[str, Callable[[Path], bytes]] = {
    "empty": lambda path: b"",
    "half": lambda path: path.read_bytes()[: path.stat().st_size // 2],
    "end": lambda path: path.read_bytes()[:-5],
    "zeros": lambda path: bytes(path.stat().st_size),
    "page": lambda path: patched(path.read_bytes(), page_of(path), "40s", b"\xff" * 40),  # type: ignore[arg-type]
    "a row less": lambda path: rewritten(path, lambda table: table.slice(1)),
    "other order": lambda path: rewritten(path, lambda table: table.take(list(range(table.num_rows))[::-1])),
}
FILES = {
    "samples": "samples/c/00000.parquet",
    "listing": "samples/f/files.parquet",
    "signal": "signals/photo/c/00000.parquet",
    "wide": "signals/.wide/c/00000.parquet",
    "selection": "selection/c/00000.parquet",
    "captions": "captions/c/00000.parquet",
    "product": "shards/concept/000000.parquet",
    "places": ".plan/rows/c/00000.parquet",
}


def after(made: Recipe, kept: Path, file: str, data: bytes, stages: str = "index score select caption build") -> None:
    """Damages one file of the finished job and runs it again: it is as it was, or one line names the file."""
    work = Path(made.workspace)
    shutil.rmtree(work)
    shutil.copytree(kept, work)
    (work / file).write_bytes(data)
    try:
        run(made, stages)
    except (UserError, StageError) as error:
        assert "\n" not in str(error) and str(work / file) in str(error), str(error)
    else:
        done, whole = bench.tree(work), bench.tree(kept)
        assert done.keys() == whole.keys()
        assert [name for name in whole if done[name] != whole[name] and not same_rows(work / name, kept / name)] == []


def same_rows(one: Path, other: Path) -> bool:
    """Whether two tables say the same: some bits of a page's header, which no checksum covers, mean nothing."""
    return one.suffix == ".parquet" and pq.read_table(one).equals(pq.read_table(other))


ALIGNED = {"a row less": ("samples", "signal", "wide", "selection", "captions"),
           "other order": ("signal", "selection", "captions")}  # fmt: skip


def cases() -> list[Any]:
    pairs = [(n, f) for n in FILES for f in FAULTS if f not in ALIGNED or n in ALIGNED[f]]
    return pairs


@pytest.mark.slow
@pytest.mark.parametrize(("name", "fault"), cases())
def test_a_damaged_file_of_the_workspace_is_made_again_or_named(
    workspace: tuple[Recipe, Path], name: str, fault: str
) -> None:
    made, kept = workspace
    after(made, kept, FILES[name], FAULTS[fault](kept / FILES[name]))


@pytest.mark.parametrize("fault", ["empty", "half", "end", "zeros", "page"])
@pytest.mark.parametrize(("name", "stages"), [("selection", "caption build"), ("selection", "build"),
                                              ("captions", "build"), ("wide", "build")])  # fmt: skip
def test_a_later_stage_alone_says_what_is_damaged(
    workspace: tuple[Recipe, Path], name: str, stages: str, fault: str
) -> None:
    made, kept = workspace
    try:
        after(made, kept, FILES[name], FAULTS[fault](kept / FILES[name]), stages)
    except AssertionError as error:  # the file, or the shard and the stage to run
        if not re.search(r"c/00000.*run `curate (select|caption) RECIPE`", str(error)):
            raise


LINES = [b"", b"{", b"[]", b"3", b"\xff\xfe", b'{"define": 3}', b'{"shard": 3}', b'{"shard": "c/00000", "files": 3}',
         b'{"shard": "c/00000"}', b"[" * 10_000]  # fmt: skip


@pytest.mark.parametrize(("stage", "line"), [
    pytest.param(s, n, id=f"{s}-{i}")
    for s in ("index", "score", "caption") for i, n in enumerate(LINES)
])  # fmt: skip
def test_a_damaged_line_of_the_ledger_costs_one_more_look(
    workspace: tuple[Recipe, Path], stage: str, line: bytes
) -> None:
    made, kept = workspace
    file = f".ledger/{stage}.jsonl"
    after(made, kept, file, (kept / file).read_bytes() + b"\n" + line)


def test_a_damaged_funnel_is_made_again(workspace: tuple[Recipe, Path]) -> None:
    after(*workspace, "selection/funnel.json", b"[]")


@pytest.mark.parametrize("fault", ["empty", "half", "end", "zeros"])
def test_a_damaged_product_tar_is_made_again(workspace: tuple[Recipe, Path], fault: str) -> None:
    made, kept = workspace
    file = "shards/concept/000000.tar"
    after(made, kept, file, FAULTS[fault](kept / file))


@pytest.mark.parametrize("fault", ["empty", "half", "end", "zeros"])
@pytest.mark.parametrize("file", [".plan/rows/c/00000.jsonl", ".plan/concept.arrow"])
def test_a_damaged_plan_is_made_again(workspace: tuple[Recipe, Path], file: str, fault: str) -> None:
    made, kept = workspace
    after(made, kept, file, FAULTS[fault](kept / file))


def test_a_line_that_the_disk_has_changed_is_named(workspace: tuple[Recipe, Path]) -> None:
    made, kept = workspace
    work = Path(made.workspace)
    shutil.rmtree(work)
    shutil.copytree(kept, work)
    (work / "shards/concept/000000.tar").unlink()
    plans = stage.plan(bench.opened(made))
    path = work / ".plan/rows/c/00000.jsonl"
    data, stat = path.read_bytes(), path.stat()
    path.write_bytes(data.replace(b"picture 0", b"picture 8"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(StageError, match=f"^{path} is damaged; delete it and run `curate build-shards RECIPE` again$"):
        plans[0].stale[0].run(Watch())


@pytest.mark.slow
@given(name=st.sampled_from(["samples", "signal", "captions", "product"]), place=st.floats(0, 1), bit=st.integers(0, 7))
@fuzz(60)
def test_a_flipped_bit_in_a_page_is_never_believed(
    workspace: tuple[Recipe, Path], name: str, place: float, bit: int
) -> None:
    made, kept = workspace
    data = bytearray((kept / FILES[name]).read_bytes())
    end = len(data) - 8 - int.from_bytes(data[-8:-4], "little")  # where the footer begins
    data[4 + int(place * (end - 5))] ^= 1 << bit
    after(made, kept, FILES[name], bytes(data))


def test_the_footer_of_an_untouched_workspace_is_whole(workspace: tuple[Recipe, Path]) -> None:
    made, kept = workspace
    assert all(footer(kept / file) for file in FILES.values())
    after(made, kept, FILES["samples"], (kept / FILES["samples"]).read_bytes())
