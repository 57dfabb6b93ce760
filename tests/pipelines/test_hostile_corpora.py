"""Whole stages over hostile corpora: the odd and broken pictures of ../shared/badimages (skipped where that folder is
missing) and a few more, as a folder, a tar and a Parquet file, with every signal on."""

import csv
import hashlib
import io
import json
import math
import tarfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curation.errors import reason_of
from curation.images import decode
from curation.recipe import Recipe
from curation.signals.base import make_signal
from curation.workspace import Workspace
from pipelines import stages
from pipelines.summary import Summary
from tests import bench

pytestmark = pytest.mark.slow
BAD = Path(__file__).resolve().parents[3] / "shared" / "badimages"
ENGINES = ("local", pytest.param("ray", marks=pytest.mark.ray))
FORMATS = {"dir": "folder", "tar": "webdataset", "table": "parquet"}
"""The corpora, each with the same pictures in it."""
SIGNALS: dict[str, dict[str, Any]] = {
    "photo": {},
    "caption": {},
    "faces": {"side": 160, "min_face": 20},
    "ocr": {"max_side": 64},
    "aesthetic": {},
}
WHERE = {
    "told": "caption_words >= 2",
    "exposed": "brightness between 0.02 and 0.98",
    "beauty": "aesthetic >= 1",
    "dear": "key like 'dir/%' or width * height <= 20000",  # the costly signals see the large pictures once
    "faces": "face_count <= 5",
    "text": "text_lines <= 50",
}
OTHERS = {"dummy.container", "hopper.tar"}
"""Files that are no images by their names and by their first bytes: of a folder, they are no rows."""
REASONS = {"empty", "not_an_image", "truncated", "corrupt", "too_large", "unreadable"}
REASONS |= {"unsupported", "no_range", "heic", "jxl"}


def thin(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8))


def extras() -> dict[str, tuple[bytes, str]]:
    """Pictures that the folder lacks, with what is expected of them."""
    clear = Image.new("RGBA", (200, 150), (255, 255, 255, 0))
    return {
        "extra_gray_1x1.png": (bench.encoded(Image.new("L", (1, 1), 90), "PNG"), "decode"),
        "extra_1x20000.png": (bench.encoded(thin(1, 20_000), "PNG"), "decode"),
        "extra_20000x1.jpg": (bench.encoded(thin(20_000, 1)), "decode"),
        "extra_white_on_nothing.png": (bench.encoded(clear, "PNG"), "decode"),
    }


@dataclass(frozen=True)
class Job:
    """One finished run over the three corpora."""

    recipe: Recipe
    files: dict[str, tuple[bytes, str]]
    """By file name: its bytes, and whether it must be decoded, rejected, or either."""
    summaries: dict[str, Summary]

    def rows(self, corpus: str) -> dict[str, dict[str, Any]]:
        """Everything that is known of each file: samples, signals and fate, by file name."""
        work = Workspace(self.recipe.workspace)
        (shard,) = work.shards(corpus)
        tables = [work.samples(corpus, shard), work.selection(corpus, shard)]
        tables += [work.signal(name, corpus, shard) for name in SIGNALS]
        merged = [
            {k: v for part in parts for k, v in part.items()} for parts in zip(*map(bench.rows, tables), strict=True)
        ]
        by_number = dict(enumerate(self.files))
        named = {(r["member"] if corpus == "dir" else by_number[int(r["member"])]): r for r in merged}
        assert len(named) == len(merged)
        return named


def files_of_the_folder() -> dict[str, tuple[bytes, str]]:
    with open(BAD / "index.csv", newline="", encoding="utf-8") as file:
        return {row["file"]: ((BAD / row["file"]).read_bytes(), row["expected"]) for row in csv.DictReader(file)}


def write_corpora(folder: Path, files: dict[str, tuple[bytes, str]]) -> None:
    """Each picture with a caption of its own; in the tar and the table they are numbered, names being hostile too."""
    for kind in FORMATS:
        (folder / kind).mkdir(parents=True)
    members: dict[str, bytes] = {}
    for number, (name, (data, _)) in enumerate(files.items()):
        caption = f"odd picture number {number:03d}"
        (folder / "dir" / name).write_bytes(data)
        (folder / "dir" / name).with_suffix(".txt").write_text(caption)
        members |= {f"{number:03d}.jpg": data, f"{number:03d}.txt": caption.encode()}
    bench.write_tar(folder / "tar" / "00000.tar", members)
    columns = {
        "key": [f"{n:03d}" for n in range(len(files))],
        "caption": [f"odd picture number {n:03d}" for n in range(len(files))],
        "jpg": [data for data, _ in files.values()],
    }
    pq.write_table(pa.table(columns), folder / "table" / "00000.parquet", row_group_size=40)


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """The engine that the stages run on."""
    if request.param == "ray":
        request.getfixturevalue("ray_here")
    return request.param


@pytest.fixture(scope="module")
def job(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Job:
    if not (BAD / "index.csv").exists():
        pytest.skip("../shared/badimages is not there")
    folder = tmp_path_factory.mktemp(f"hostile-{engine}")
    files = files_of_the_folder() | extras()
    write_corpora(folder, files)
    recipe = bench.recipe(
        folder,
        engine=engine,
        workers=1,  # its start costs more than these small pictures
        corpora=[{"name": name, "path": f"./{name}", "format": format} for name, format in FORMATS.items()],
        signals=SIGNALS,
        select={"where": WHERE, "dedup": {"exact": False}},
        shards={"samples_per_shard": 100},
        max_failed_share=0.5,
    )
    return Job(recipe, files, {name: stage(bench.opened(recipe)) for name, stage in stages.STAGES.items()})


def test_every_stage_ends_well_and_counts_every_file(job: Job) -> None:
    for name, summary in job.summaries.items():
        assert summary.ok, (name, summary.lines())
        assert summary.errors == [] and summary.damaged == []
    count = len(FORMATS) * len(job.files) - len(OTHERS)
    assert job.summaries["index"].more["images"] == count
    funnel = job.summaries["select"].more["funnel"]
    parts = [funnel["failed"], funnel["kept"], *funnel["dropped"].values(), *funnel["duplicate"].values()]
    assert funnel["input"] == sum(parts) == count
    assert funnel["undecided"] == {} and funnel["kept"] > 0 and all(count >= 0 for count in parts)


@pytest.mark.parametrize("corpus", FORMATS)
def test_every_file_ends_with_a_status_and_a_reason(job: Job, corpus: str) -> None:
    rows = job.rows(corpus)
    assert rows.keys() == job.files.keys() - (OTHERS if corpus == "dir" else set())
    for name, row in rows.items():
        data, expected = job.files[name]
        assert row["sha256"] == hashlib.sha256(data).hexdigest(), name
        errors = [row["error"], *(row[f"{signal}_error"] for signal in SIGNALS)]
        for error in filter(None, errors):
            assert "\n" not in error and reason_of(error).removeprefix("needs_photo") in REASONS | {""}, (
                name,
                error,
            )
        assert (row["status"] == "failed") == (row["error"] is not None)
        seen = row["status"] == "ok" and row["photo_state"] == "scored"
        assert expected == "either" or seen == (expected == "decode"), (name, errors)
        assert row["fate"] in ("failed", "dropped", "kept")
        assert row["fate"] == "failed" if row["status"] == "failed" else row["fate"] != "failed" or not seen, name
        if not seen:
            assert row["fate"] != "kept" and row["brightness"] is None and row["face_count"] is None


@pytest.mark.parametrize("corpus", FORMATS)
def test_scores_are_finite_and_within_their_ranges(job: Job, corpus: str) -> None:
    shares = ("brightness", "contrast", "clip_low", "clip_high", "border_share", "seam_score", "face_area_share",
              "text_area_share")  # fmt: skip
    for name, row in job.rows(corpus).items():
        if row["photo_state"] == "scored":
            for column in shares:
                assert row[column] is None or 0 <= row[column] <= 1, (name, column, row[column])
            assert row["aesthetic_state"] != "scored" or math.isfinite(row["aesthetic"]), name
        if row["fate"] == "kept":
            assert all(row[f"{signal}_state"] == "scored" for signal in SIGNALS), name


def test_the_container_changes_no_score(job: Job) -> None:
    one, *others = (job.rows(corpus) for corpus in FORMATS)
    compared = ["length", "sha256", "status", "error", "width", "height", "aspect_ratio", "format", "caption_words"]
    compared += [f"{name}_error" for name in SIGNALS]
    for name in SIGNALS.keys() - {"caption"}:  # two files of the folder that differ by ending share a text
        compared += make_signal(name, {}).columns
    alike = 0
    for other in others:
        for name, row in one.items():
            same = row["faces_state"] == other[name]["faces_state"]
            alike += same
            for column in compared if same else compared[:8]:
                assert row[column] == other[name][column], (name, column)
    assert alike > len(job.files)


@pytest.mark.parametrize("name", ["huge_65000x65000.jpg", "huge_100000x100000.png", "decompression_bomb.gif"])
def test_a_bomb_is_refused_by_the_index(job: Job, name: str) -> None:
    for corpus in FORMATS:
        row = job.rows(corpus)[name]
        assert row["error"].startswith("too_large: declared size ") and row["photo_state"] == "skipped"


def test_odd_pictures_score_as_their_plain_twins(job: Job) -> None:
    rows = job.rows("dir")
    hopper = rows["hopper.jpg"]
    for name in ("hopper_orientation_2.jpg", "hopper_orientation_3.jpg", "hopper_orientation_5.jpg",
                 "hopper_orientation_6.jpg", "hopper_orientation_8.jpg", "hopper_orientation_6.webp", "hopper.webp",
                 "hopper.bmp", "hopper.gif", "hopper_gray.jpg"):  # fmt: skip
        assert (rows[name]["width"], rows[name]["height"]) == (hopper["width"], hopper["height"]), name
        assert rows[name]["brightness"] == pytest.approx(hopper["brightness"], abs=0.03), name
        assert rows[name]["face_count"] == hopper["face_count"] == 1, name
    photo = rows["jpeg_named.png"]
    for name in ("cmyk.jpg", "grey16.png", "progressive.jpg", "webp_named.jpg", "png_named.jpg", "icc_garbage.jpg",
                 "no_extension", "trailing_html.jpg"):  # fmt: skip
        assert rows[name]["brightness"] == pytest.approx(photo["brightness"], abs=0.03), name
        assert rows[name]["contrast"] == pytest.approx(photo["contrast"], abs=0.05), name
    assert rows["grey16.png"]["clip_high"] < 0.1
    assert rows["fully_transparent.png"]["brightness"] == rows["extra_white_on_nothing.png"]["brightness"] == 1
    assert rows["fully_transparent.png"]["dropped_by"] == "exposed"


@pytest.mark.parametrize("name", ["one_pixel.png", "strip_4000x1.png", *extras()])
def test_the_smallest_and_the_thinnest_go_through_every_signal(job: Job, name: str) -> None:
    for corpus in FORMATS:
        row = job.rows(corpus)[name]
        assert row["status"] == "ok" and row["min_side"] >= 1 and row["aspect_ratio"] > 0
        assert row["photo_state"] == "scored" and row["fate"] in ("kept", "dropped")
        if row["fate"] == "kept":
            assert (row["face_count"], row["text_lines"]) == (0, 0)


def test_the_product_holds_the_kept_pictures_and_each_opens(job: Job) -> None:
    folder = Workspace(job.recipe.workspace).product("concept")
    funnel = job.summaries["select"].more["funnel"]
    built = 0
    for path in sorted(folder.glob("[0-9]*.parquet")):
        table = {row["index"]: row for row in bench.rows(path)}
        with tarfile.open(path.with_suffix(".tar")) as tar:
            members = {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]
        pictures = {name: data for name, data in members.items() if not name.endswith((".txt", ".json"))}
        assert len(pictures) == len(table) == len(members) // 3
        for name, data in pictures.items():
            row = table[int(name[6:10])]
            assert decode(data).shape[:2] == (row["height"], row["width"])
            assert hashlib.sha256(data).hexdigest() == row["sha256"]
            assert b"GPS" not in data[:2000] and json.loads(members[name.split(".")[0] + ".json"])["key"] == row["key"]
        built += len(table)
    failed = sum(job.summaries["build-shards"].failed.values())
    assert built + failed == funnel["kept"] and failed <= 0.05 * funnel["kept"]


def test_a_second_run_has_nothing_to_do(job: Job) -> None:
    before = bench.tree(Path(job.recipe.workspace))
    for name in ("index", "score", "caption", "build-shards"):
        assert stages.STAGES[name](bench.opened(job.recipe)).done == 0, name
    assert bench.tree(Path(job.recipe.workspace)) == before


# --- broken containers beside good ones


def test_broken_containers_cost_themselves_and_are_named(engine: str, tmp_path: Path) -> None:
    good = [bench.encoded(bench.picture(n, (120, 90))) for n in range(4)]
    for kind in ("tars", "tables"):
        (tmp_path / kind).mkdir()
    for shard in ("good", "cut", "side", "odd"):
        names = {f"{shard}{n}.jpg": data for n, data in enumerate(good)}
        bench.write_tar(tmp_path / "tars" / f"{shard}.tar", names | {f"{shard}3.json": b"[" * 50_000})
    tar = (tmp_path / "tars" / "cut.tar").read_bytes()
    (tmp_path / "tars" / "cut.tar").write_bytes(tar[: tar.index(b"cut2.jpg") + 1000])
    (tmp_path / "tars" / "side.parquet").write_bytes(b"PAR1 no more")
    (tmp_path / "tars" / "none.tar").write_bytes(b"<html>not found</html>" * 50)
    buffer = io.BytesIO()
    pq.write_table(pa.table({"key": list("abcd"), "jpg": good}), buffer, row_group_size=1)
    (tmp_path / "tables" / "good.parquet").write_bytes(buffer.getvalue())
    (tmp_path / "tables" / "cut.parquet").write_bytes(buffer.getvalue()[:-20])
    pq.write_table(pa.table({"key": ["a"], "text": ["no image"]}), tmp_path / "tables" / "schema.parquet")
    recipe = bench.recipe(
        tmp_path,
        engine=engine,
        workers=1,
        corpora=[{"name": "tars", "path": "./tars"}, {"name": "tables", "path": "./tables", "format": "parquet"}],
        select={"where": {"exposed": "brightness >= 0"}, "dedup": {"exact": False}},
        max_failed_share=0.5,
    )
    for _ in range(2):  # the second time says the same, and reads again only what could not be done
        summary = stages.index(bench.opened(recipe))
        assert not summary.ok
        assert sorted(line.split(":")[0] for line in summary.damaged) == [
            "tables/cut",
            "tables/schema",
            "tars/cut",
            "tars/none",
            "tars/side",
        ]
        assert summary.errors == []
        assert all("\n" not in line for line in summary.damaged + summary.errors)
    assert str(tmp_path / "tars" / "side.parquet") in " ".join(summary.damaged)
    assert stages.score(bench.opened(recipe)).ok
    funnel = stages.select(bench.opened(recipe)).more["funnel"]
    indexed = Counter({"tars/good": 4, "tars/odd": 4, "tars/side": 4, "tables/good": 4})
    work = Workspace(recipe.workspace)
    for corpus in ("tars", "tables"):
        for shard in work.shards(corpus):
            statuses = Counter(row["status"] for row in bench.rows(work.samples(corpus, shard)))
            assert indexed[f"{corpus}/{shard}"] in (0, statuses["ok"])
    cut = bench.rows(work.samples("tars", "cut"))
    assert [row["status"] for row in cut] == ["ok", "ok", "failed"]
    assert (funnel["input"], funnel["failed"], funnel["kept"]) == (19, 1, 18)
