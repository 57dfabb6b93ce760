"""Stage `index`: one row an image, in files that are done once and are the same bytes each time."""

import hashlib
import json
import math
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.corpora.index import plan
from curation.corpora.listing import open_source
from curation.corpora.samples import known_shard
from curation.errors import UserError, reason_of
from curation.recipe import Recipe
from curation.recipe.sections import Corpus
from curation.tasks import Outcome, Plan, Watch
from curation.workspace import Workspace
from curation.workspace.files import footer
from curation.workspace.ledger import Ledger
from curation.workspace.schemas import SAMPLES
from pipelines import stages
from tests import bench


class Indexed:
    """A corpus, and what the index says of it."""

    def __init__(self, raw: Path, format: str, work: Path, name: str = "web") -> None:
        self.raw, self.format, self.workspace = raw, format, Workspace(work)
        self.recipe = Recipe(
            name="t", workspace=str(work), workers=1, corpora=[Corpus(name=name, path=str(raw), format=format)]
        )
        self.name = name

    def run(self) -> list[Outcome]:
        """Does what there is to do, in this process."""
        ledger, outcomes = Ledger(self.workspace, "index", writable=True), []
        for task in plan(self.recipe, self.workspace).tasks:
            outcomes.append(task.run(Watch()))
            ledger.add(task.corpus, task.shard, outcomes[-1].line)
        return outcomes

    @property
    def rows(self) -> list[dict[str, Any]]:
        shards = self.workspace.shards(self.name)
        return [r for s in shards for r in pq.read_table(self.workspace.samples(self.name, s)).to_pylist()]

    def column(self, name: str) -> list[Any]:
        return [row[name] for row in self.rows]

    def notes(self, shard: str) -> dict[str, Any]:
        return known_shard(self.workspace, Ledger(self.workspace, "index"), self.name, shard) or {}


@pytest.fixture
def indexed(tmp_path: Path) -> Callable[..., Indexed]:
    """Indexes a folder into a workspace of its own."""

    def run(raw: Path, format: str = "webdataset", work: str = "work") -> Indexed:
        corpus = Indexed(raw, format, tmp_path / work)
        corpus.run()
        return corpus

    return run


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    return folder


def put(folder: Path, **files: bytes) -> None:
    for name, data in files.items():
        (folder / name.replace("__", "/").replace("_", ".")).write_bytes(data)


def state_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Every Parquet file below, with what changes when it is written again."""
    return {str(p.relative_to(folder)): (p.stat().st_ino, p.stat().st_mtime_ns) for p in folder.rglob("*.parquet")}


# --- img2dataset's own output


@pytest.mark.slow
@pytest.mark.parametrize("format", ["webdataset", "parquet", "files"])
def test_img2dataset_output_is_indexed_row_by_row(crawl, indexed: Callable[..., Indexed], format: str) -> None:
    corpus = indexed(crawl.folders[format], format)
    rows = {row["url"]: row for row in corpus.rows}
    assert len(rows) == len(corpus.rows) == 9
    for position, given in enumerate(crawl.rows):
        if given["url"].endswith("missing.jpg"):
            assert given["url"] not in rows
            continue
        row, data = rows[given["url"]], crawl.served["/" + given["url"].rsplit("/", 1)[1]]
        member = f"{position:09d}" + (".jpg" if format == "files" else "")
        assert row["key"] == f"web/00000/{member}" and row["member"] == member
        assert row["sha256"] == row["meta_sha256"] == hashlib.sha256(data).hexdigest()
        assert row["length"] == len(data)
        assert (row["caption"] or "") == (given["caption"] or "")
        assert row["domain"] == "127.0.0.1"
        assert row["meta_licence"] == given["licence"]
        assert row["meta_score"] == (None if math.isnan(given["score"]) else given["score"])
        assert row["meta_status"] == "success" and row["meta_error_message"] is None
    page = rows[crawl.rows[-1]["url"]]
    assert page["status"] == "failed" and page["error"].startswith("not_an_image: ")
    assert page["width"] is None and page["format"] is None
    good = [row for row in corpus.rows if row["status"] == "ok"]
    assert len(good) == 8
    assert {(r["width"], r["height"]) for r in good} == {(60 + i, 50) for i in range(8)}
    assert all(r["min_side"] == 50 and abs(r["aspect_ratio"] - r["width"] / 50) < 1e-4 for r in good)
    assert sorted({r["format"] for r in good}) == ["gif", "jpeg", "png", "webp"]
    notes = corpus.notes("00000")
    assert notes["rows"] == 9 and notes["failed"] == 1 and notes["without_image"] == 1 and notes["damage"] is None


@pytest.mark.slow
@pytest.mark.parametrize("format", ["webdataset", "parquet", "files"])
def test_further_columns_keep_their_types(crawl, indexed: Callable[..., Indexed], format: str) -> None:
    corpus = indexed(crawl.folders[format], format)
    schema = pq.read_schema(corpus.workspace.samples("web", "00000"))
    assert schema.names[: len(SAMPLES)] == SAMPLES.names and schema.types[: len(SAMPLES)] == SAMPLES.types
    assert schema.field("meta_score").type == pa.float64()
    assert schema.field("meta_licence").type == pa.string()
    assert schema.field("meta_original_width").type == pa.int32()
    assert not {"meta_key", "meta_url", "meta_caption", "meta_jpg"} & set(schema.names)


@pytest.mark.parametrize("format", ["webdataset", "parquet", "files"])
def test_bytes_are_read_back_by_what_the_index_noted(crawl, indexed: Callable[..., Indexed], format: str) -> None:
    corpus = indexed(crawl.folders[format], format)
    path = corpus.workspace.samples("web", "00000")
    place = f"{crawl.folders[format]}/{footer(path)['source']}"
    source = open_source(corpus.recipe.corpora[0], "00000", place)
    for row in reversed(corpus.rows):
        assert hashlib.sha256(source.read(row["member"], row["offset"], row["length"])).hexdigest() == row["sha256"]
    source.close()


# --- rows


def test_every_image_gets_a_row_and_the_counts_add_up(
    raw: Path, make_tar: Callable[..., Path], image_bytes: Callable[..., bytes], indexed: Callable[..., Indexed]
) -> None:
    good = image_bytes(1)
    make_tar(
        raw / "00000.tar",
        [
            ("a.jpg", good),
            ("b.jpg", b""),
            ("c.jpg", b"<html>"),
            ("d.jpg", good[:100]),
            ("a.jpg", good),
            ("e.heic", b"?"),
        ],
    )
    corpus = indexed(raw)
    reasons = [(row["key"][-1], row["status"], reason_of(row["error"] or "")) for row in corpus.rows]
    assert reasons[0] == ("a", "ok", "")
    assert [r[:2] for r in reasons[1:]] == [(n, "failed") for n in "bcdae"]
    assert [r[2] for r in reasons[1:3]] == ["empty", "not_an_image"] and reasons[4][2] == "duplicate_member"
    assert corpus.notes("00000")["failed"] == 5 and corpus.notes("00000")["rows"] == 6


def test_an_outcome_counts_failures_by_reason(raw: Path, make_tar: Callable[..., Path], tmp_path: Path) -> None:
    make_tar(raw / "00000.tar", [("a.jpg", b""), ("b.jpg", b""), ("c.jpg", b"<html>")])
    (outcome,) = Indexed(raw, "webdataset", tmp_path / "work").run()
    assert outcome.rows == 3 and outcome.failed == {"empty": 2, "not_an_image": 1} and outcome.notes == []


@pytest.mark.parametrize(
    ("url", "domain"),
    [
        ("https://www.Example.com:8080/a?b#c", "example.com"),
        ("http://user:pass@img.example.org/x.jpg", "img.example.org"),
        ("s3://bucket/key", "bucket"),
        ("www.example.com/x", None),
        ("", None),
    ],
)
def test_the_domain_is_the_urls_host(
    raw: Path, make_tar: Callable[..., Path], indexed: Callable[..., Indexed], url: str, domain: str | None
) -> None:
    make_tar(raw / "00000.tar", [("a.jpg", b"x"), ("a.json", json.dumps({"url": url}).encode())])
    assert indexed(raw).column("domain") == [domain]


def json_tar(raw: Path, make_tar: Callable[..., Path], data: bytes, *jsons: str) -> None:
    members = [(f"{i}.{e}", d) for i, text in enumerate(jsons) for e, d in (("jpg", data), ("json", text.encode()))]
    make_tar(raw / "00000.tar", members)


def test_nan_and_infinities_become_null(
    raw: Path, make_tar: Callable[..., Path], image_bytes: Callable[..., bytes], indexed: Callable[..., Indexed]
) -> None:
    texts = ['{"a": NaN}', '{"a": Infinity}', '{"a": -Infinity}', '{"a": 1.5}', "{}"]
    json_tar(raw, make_tar, image_bytes(), *texts)
    assert indexed(raw).column("meta_a") == [None, None, None, 1.5, None]


@pytest.mark.parametrize(
    "texts",
    [
        ('{"a": 1}', '{"a": "one"}'),
        ('{"a": [1]}', '{"a": {"b": 1}}'),
        ('{"a": 1}', '{"a": 100000000000000000000000}'),
        ('{"a": true}', '{"a": 2}'),
    ],
)
def test_mixed_types_become_text(
    raw: Path,
    make_tar: Callable[..., Path],
    image_bytes: Callable[..., bytes],
    indexed: Callable[..., Indexed],
    texts: tuple[str, ...],
) -> None:
    json_tar(raw, make_tar, image_bytes(), *texts)
    values = indexed(raw).column("meta_a")
    given = [json.loads(text)["a"] for text in texts]
    assert values == [v if isinstance(v, str) else json.dumps(v) for v in given]


@pytest.mark.parametrize(
    "text",
    ['{"a": {}}', '{"a": {"b": {}}}', '{"a": [{}]}', '{"a": []}', '{"": 1}', '{"a": "\\ud83d"}', '{"\\ud83d": 1}',
     '{"caption": "half an emoji \\ud83d"}', '{"url": "http://x/\\udcff"}', '{"A": 1, "a": 2}', '{"a": null}'],
)  # fmt: skip
def test_odd_json_costs_no_shard(
    raw: Path,
    make_tar: Callable[..., Path],
    image_bytes: Callable[..., bytes],
    indexed: Callable[..., Indexed],
    text: str,
) -> None:
    json_tar(raw, make_tar, image_bytes(), text, "{}")
    assert indexed(raw).column("status") == ["ok", "ok"]


@pytest.mark.parametrize("format", ["webdataset", "folder"])
def test_a_name_in_another_encoding_costs_no_shard(
    raw: Path,
    make_tar: Callable[..., Path],
    image_bytes: Callable[..., bytes],
    indexed: Callable[..., Indexed],
    format: str,
) -> None:
    name = os.fsdecode("café.jpg".encode("latin-1"))
    if format == "folder":
        (raw / name).write_bytes(image_bytes())
        (raw / "b.jpg").write_bytes(image_bytes())
    else:
        make_tar(raw / "00000.tar", [("caf@.jpg", image_bytes()), ("b.jpg", image_bytes())])
        (raw / "00000.tar").write_bytes(with_byte_in_name((raw / "00000.tar").read_bytes()))
    corpus = indexed(raw, format)
    assert len(corpus.rows) == 2 and "ok" in corpus.column("status")


def with_byte_in_name(data: bytes) -> bytes:
    """The tar with the `@` of its first name replaced by a byte that is no UTF-8, its checksum put right."""
    header = bytearray(data[:512])
    header[header.index(b"@")] = 0xE9
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + data[512:]


# --- plain folders


def test_keys_of_a_folder_keep_path_and_extension(
    raw: Path, image_bytes: Callable[..., bytes], indexed: Callable[..., Indexed]
) -> None:
    (raw / "deep" / "er").mkdir(parents=True)
    put(raw, a_jpg=image_bytes(1), a_png=image_bytes(2, "PNG"), deep__er__a_jpg=image_bytes(3))
    put(raw, a_txt="说明".encode())
    corpus = indexed(raw, "folder")
    assert corpus.column("key") == ["web/00000/a.jpg", "web/00000/a.png", "web/00000/deep/er/a.jpg"]
    assert corpus.column("caption") == ["说明", "说明", None]
    assert corpus.column("format") == ["jpeg", "png", "jpeg"]


def test_a_decomposed_name_has_a_composed_key_and_is_still_read(
    raw: Path, image_bytes: Callable[..., bytes], indexed: Callable[..., Indexed]
) -> None:
    name = unicodedata.normalize("NFD", "Größe.jpg")
    (raw / name).write_bytes(image_bytes(1))
    corpus = indexed(raw, "folder")
    (row,) = corpus.rows
    assert row["key"] == "web/00000/" + unicodedata.normalize("NFC", name)
    source = open_source(corpus.recipe.corpora[0], "00000", str(raw), [row["member"]])
    assert source.read(row["member"], row["offset"], row["length"]) == image_bytes(1)


def test_no_two_good_rows_have_one_key(
    raw: Path, image_bytes: Callable[..., bytes], indexed: Callable[..., Indexed]
) -> None:
    for form in ("NFC", "NFD"):
        (raw / unicodedata.normalize(form, "é.jpg")).write_bytes(image_bytes(1))
    rows = indexed(raw, "folder").rows
    assert len(rows) == 2
    assert sorted(row["status"] for row in rows) == ["failed", "ok"]
    assert [reason_of(row["error"]) for row in rows if row["error"]] == ["duplicate_member"]


def test_a_folder_that_grows_and_loses_a_file(
    raw: Path, image_bytes: Callable[..., bytes], indexed: Callable[..., Indexed]
) -> None:
    put(raw, b_jpg=image_bytes(1), d_jpg=image_bytes(2))
    corpus = indexed(raw, "folder")
    listing = corpus.workspace.folder_listing("web")
    before = pq.read_table(listing).to_pylist()
    put(raw, a_jpg=image_bytes(3))
    (raw / "b.jpg").unlink()
    corpus.run()
    assert corpus.column("key") == ["web/00000/b.jpg", "web/00000/d.jpg", "web/00001/a.jpg"]
    assert corpus.column("status") == ["gone", "ok", "ok"]
    assert corpus.notes("00000")["gone"] == 1 and corpus.notes("00000")["failed"] == 0
    after = pq.read_table(listing).to_pylist()
    assert after[: len(before)] == before and after[len(before) :] == [{"shard": "00001", "member": "a.jpg"}]
    put(raw, b_jpg=image_bytes(1))
    corpus.run()
    assert corpus.column("status") == ["ok", "ok", "ok"]
    assert pq.read_table(listing).to_pylist() == after


# --- again


@pytest.mark.parametrize("format", ["webdataset", "parquet", "files"])
def test_indexing_again_touches_nothing(crawl, indexed: Callable[..., Indexed], format: str) -> None:
    corpus = indexed(crawl.folders[format], format)
    before = state_of(corpus.workspace.root)
    assert plan(corpus.recipe, corpus.workspace) == Plan([], 1)
    assert corpus.run() == [] and state_of(corpus.workspace.root) == before


def test_a_changed_shard_is_done_again_and_only_that(
    raw: Path, make_tar: Callable[..., Path], image_bytes: Callable[..., bytes], indexed: Callable[..., Indexed]
) -> None:
    for shard in ("00000", "00001"):
        make_tar(raw / f"{shard}.tar", [("a.jpg", image_bytes(1))])
    corpus = indexed(raw)
    before = state_of(corpus.workspace.root)
    make_tar(raw / "00001.tar", [("a.jpg", image_bytes(1)), ("b.jpg", image_bytes(2))])
    make_tar(raw / "00002.tar", [("c.jpg", image_bytes(3))])
    found = plan(corpus.recipe, corpus.workspace)
    assert [t.shard for t in found.tasks] == ["00001", "00002"] and found.total == 3
    assert found.reasons == {"the raw shard has changed": 1, "new": 1}
    corpus.run()
    after = state_of(corpus.workspace.root)
    assert after["samples/web/00000.parquet"] == before["samples/web/00000.parquet"]
    assert after["samples/web/00001.parquet"] != before["samples/web/00001.parquet"]
    assert len(corpus.rows) == 4


@pytest.mark.parametrize("lost", ["samples/web/00000.parquet", ".ledger/index.jsonl"])
def test_a_lost_file_is_made_again(crawl, indexed: Callable[..., Indexed], lost: str) -> None:
    corpus = indexed(crawl.folders["webdataset"])
    samples = corpus.workspace.samples("web", "00000")
    data, notes = samples.read_bytes(), corpus.notes("00000")
    (corpus.workspace.root / lost).unlink()
    assert len(corpus.run()) == 1
    assert samples.read_bytes() == data
    after = corpus.notes("00000")
    assert {k: v for k, v in after.items() if k != "files"} == {k: v for k, v in notes.items() if k != "files"}


def test_a_copied_workspace_is_not_indexed_anew(crawl, indexed: Callable[..., Indexed]) -> None:
    corpus = indexed(crawl.folders["webdataset"])
    notes = corpus.notes("00000")
    os.utime(corpus.workspace.samples("web", "00000"))
    assert corpus.run() == []
    assert corpus.notes("00000")["damage"] == notes["damage"] and corpus.notes("00000")["source"] == notes["source"]


@pytest.mark.parametrize("format", ["webdataset", "parquet", "files"])
def test_two_workspaces_hold_the_same_bytes(crawl, indexed: Callable[..., Indexed], format: str) -> None:
    one, two = (
        indexed(crawl.folders[format], format, work).workspace.samples("web", "00000").read_bytes()
        for work in ("one", "two")
    )
    assert one == two


def test_the_footer_knows_rows_and_captions_apart(
    raw: Path, make_tar: Callable[..., Path], image_bytes: Callable[..., bytes], indexed: Callable[..., Indexed]
) -> None:
    notes = []
    for work, caption in (("one", b"old"), ("two", b"new")):
        make_tar(raw / "00000.tar", [("a.jpg", image_bytes(1)), ("a.txt", caption)])
        notes.append(footer(indexed(raw, work=work).workspace.samples("web", "00000")))
    assert notes[0]["rows_digest"] == notes[1]["rows_digest"]
    assert notes[0]["caption_digest"] != notes[1]["caption_digest"]


# --- damage


def test_a_truncated_tar_ends_with_status_one_and_keeps_its_rows(
    raw: Path, make_tar: Callable[..., Path], image_bytes: Callable[..., bytes], tmp_path: Path
) -> None:
    path = make_tar(raw / "00000.tar", [(f"{i}.jpg", image_bytes(i)) for i in range(4)])
    path.write_bytes(path.read_bytes()[:-12_000])
    make_tar(raw / "00001.tar", [("x.jpg", image_bytes(9))])
    corpus = Indexed(raw, "webdataset", tmp_path / "work")
    for _ in range(2):  # the second time, nothing is read again and the damage is still said
        summary = stages.index(bench.opened(corpus.recipe))
        assert not summary.ok
        assert any("web/00000" in line for line in summary.damaged)
    statuses = corpus.column("status")
    assert statuses[0] == "ok" and statuses[-1] == "ok"
    assert corpus.notes("00000")["damage"]


def test_damaged_parquet_files_are_named_in_one_line_each(
    raw: Path, image_bytes: Callable[..., bytes], tmp_path: Path
) -> None:
    good = pa.table({"key": ["a", "b"], "jpg": [image_bytes(1), image_bytes(2)]})
    for shard in ("empty", "end", "good", "middle"):
        pq.write_table(good, raw / f"{shard}.parquet", compression="none")
    whole = (raw / "good.parquet").read_bytes()
    at = pq.ParquetFile(raw / "good.parquet").metadata.row_group(0).column(1).dictionary_page_offset
    (raw / "empty.parquet").write_bytes(b"")
    (raw / "end.parquet").write_bytes(whole[:-50])
    (raw / "middle.parquet").write_bytes(whole[:at] + b"\xff" * 30 + whole[at + 30 :])
    corpus = Indexed(raw, "parquet", tmp_path / "work")
    errors = stages.index(bench.opened(corpus.recipe)).damaged
    assert [e.split(": ")[0] for e in errors] == ["web/empty", "web/end", "web/middle"]
    assert all("damaged Parquet file" in e and "\n" not in e for e in errors)
    assert corpus.column("key") == ["web/good/a", "web/good/b"]


def test_a_damaged_table_beside_a_tar_costs_itself_and_is_named(
    raw: Path, make_tar: Callable[..., Path], image_bytes: Callable[..., bytes], tmp_path: Path
) -> None:
    make_tar(raw / "00000.tar", [("a.jpg", image_bytes(1)), ("a.txt", b"its own caption")])
    (raw / "00000.parquet").write_bytes(b"PAR1 no more")
    made = bench.recipe(tmp_path, corpora=[{"name": "c", "path": str(raw)}])
    summary = stages.index(bench.opened(made), None)
    assert len(summary.damaged) == 1 and "00000.parquet: cannot be read" in summary.damaged[0]
    (row,) = bench.rows(tmp_path / "work/samples/c/00000.parquet")
    assert (row["status"], row["caption"]) == ("ok", "its own caption")


def test_a_shard_may_not_take_the_listings_name(
    raw: Path, make_tar: Callable[..., Path], image_bytes: Callable[..., bytes], tmp_path: Path
) -> None:
    make_tar(raw / "files.tar", [("a.jpg", image_bytes(1))])
    corpus = Indexed(raw, "webdataset", tmp_path / "work")
    try:
        corpus.run()
    except UserError:
        return
    assert len(corpus.rows) == 1  # either refused or kept, never lost
