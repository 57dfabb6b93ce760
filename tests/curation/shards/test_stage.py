"""The product: even shards, nothing lost or doubled, what is not fit left out and counted."""

import csv
import hashlib
import importlib.util
import io
import json
import re
import resource
import tarfile
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageCms
from PIL.ExifTags import Base

from curation.annotation.votes import import_votes
from curation.captions.stage import plan as plan_captions
from curation.decoding.formats import PACKAGES
from curation.errors import StageError, UserError
from curation.images import decode
from curation.recipe import Recipe
from curation.selection.stage import Selection
from curation.shards.stage import finish, plan
from curation.tasks import Watch
from curation.workspace import Workspace
from curation.workspace.ledger import Ledger
from tests import bench, classifiers, profiles
from tests.curation.test_hostile_images import chunk


def prepared(folder: Path, votes: dict[str, list[int]] | None = None, **values: Any) -> Recipe:
    made = bench.recipe(folder, **values)
    bench.index(made)
    bench.score(made)
    Selection(bench.opened(made)).write()
    for task in plan_captions(bench.opened(made)).tasks:
        task.run(Watch())
    if votes:
        with open(folder / "votes.csv", "w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["key", "annotator", "level"])
            table.writerows([key, who, n] for key, ns in votes.items() for who, n in zip("abc", ns, strict=False))
        import_votes(bench.opened(made), folder / "votes.csv")
    return made


def build(made: Recipe) -> dict[str, Any]:
    plans = plan(bench.opened(made))
    ledger = Ledger(Workspace(made.workspace), "build-shards", writable=True)
    for task in [t for p in plans for t in p.stale]:
        outcome = task.run(Watch())
        if outcome.error:
            raise StageError(outcome.error)
        ledger.add(task.corpus, task.shard, outcome.line)
    return finish(bench.opened(made), plans)


def members(folder: Path, phase: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for path in sorted((folder / "work/shards" / phase).glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                assert member.name not in found
                found[member.name] = tar.extractfile(member).read()  # type: ignore[union-attr]
    return found


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Eleven pictures in two shards: JPEG with GPS and orientation, PNG, WebP, GIF; texts in both languages."""
    exif = Image.Exif()
    exif[Base.Orientation] = 6
    exif[Base.Artist] = "SECRET NAME"
    files = {f"{n}.jpg": bench.encoded(bench.picture(n)) for n in range(7)}
    files["turned.jpg"] = bench.encoded(bench.picture(20), exif=exif)
    files["p.png"] = bench.encoded(bench.picture(21), "PNG")
    files["w.webp"] = bench.encoded(bench.picture(22), "WEBP")
    files["g.gif"] = bench.encoded(bench.picture(23), "GIF")
    for shard, part in (("00000", list(files)[:6]), ("00001", list(files)[6:])):
        texts = {
            f"{n.split('.')[0]}.txt": (f"a picture called {n}" if n < "4" else f"一张图片，名为{n}").encode()
            for n in part
        }
        both = {
            k: v for n in part for k, v in ((n, files[n]), (f"{n.split('.')[0]}.txt", texts[f"{n.split('.')[0]}.txt"]))
        }
        bench.write_tar(tmp_path / "raw" / f"{shard}.tar", both)
    return tmp_path


def test_every_kept_image_is_in_the_concept_phase_once_in_even_shards(corpus: Path) -> None:
    made = prepared(corpus, shards={"samples_per_shard": 4})
    assert build(made)["concept"] == {"images": 11, "shards": 3}
    tables = [pq.read_table(p) for p in sorted((corpus / "work/shards/concept").glob("[0-9]*.parquet"))]
    assert sorted(t.num_rows for t in tables) == [3, 4, 4]
    keys = [k for t in tables for k in t["key"].to_pylist()]
    samples = [r["key"] for s in ("00000", "00001") for r in bench.rows(corpus / f"work/samples/c/{s}.parquet")]
    assert sorted(keys) == sorted(samples) and keys != sorted(keys)


def test_members_hold_the_true_format_the_text_and_the_facts(corpus: Path) -> None:
    build(prepared(corpus))
    found = members(corpus, "concept")
    by_key = {}
    for name, data in found.items():
        if name.endswith(".json"):
            by_key[json.loads(data)["key"]] = (name[:-5], json.loads(data))
    endings = {
        key: next(e for e in ("jpg", "png", "webp") if f"{stem}.{e}" in found) for key, (stem, _) in by_key.items()
    }
    assert Counter(endings.values()) == {"jpg": 8, "png": 2, "webp": 1}
    assert endings["c/00001/g"] == "png"  # a GIF's first frame, the same pixels
    for stem, facts in by_key.values():
        image = found[f"{stem}.{endings[facts['key']]}"]
        assert hashlib.sha256(image).hexdigest() == facts["sha256"]
        text = found[f"{stem}.txt"].decode()
        assert text in (facts["caption"], facts["caption_en"], facts["caption_zh"])
        assert (facts["caption_source"] == "original") == (text == facts["caption"])
        assert facts["phase"] == "concept" and facts["source"] == "web" and facts["signals"]["sharpness"] > 0
        assert facts["bucket"] == "1152x896" or facts["key"].endswith("turned")


def test_the_table_finds_each_member_by_offset(corpus: Path) -> None:
    build(prepared(corpus))
    folder = corpus / "work/shards/concept"
    found = members(corpus, "concept")
    for row in bench.rows(folder / "000000.parquet"):
        data = (folder / "000000.tar").read_bytes()[row["offset"] : row["offset"] + row["length"]]
        assert data in found.values() and hashlib.sha256(data).hexdigest() == row["sha256"]
    index = bench.rows(folder / "index.parquet")
    assert {(r["key"], r["shard"], r["index"]) for r in index} == {
        (r["key"], r["shard"], r["index"]) for r in bench.rows(folder / "000000.parquet")}  # fmt: skip


def test_names_that_signals_give_are_in_the_product_whether_a_predicate_reads_them_or_not(corpus: Path) -> None:
    classifiers.vit(corpus / "models" / "kinds", ["food", "people"])
    made = prepared(
        corpus,
        models="./models",
        signals={"photo": {}, "caption": {}, "category": {"checkpoint": "kinds"}},
        select={"where": {"told": "caption_lang in ('en', 'zh', 'und')"}},
    )
    build(made)
    table = pq.read_table(corpus / "work/shards/concept/000000.parquet")
    assert all(str(table.schema.field(name).type) == "string" for name in ("caption_lang", "category"))
    sidecars = {name: {row["key"]: row[name] for shard in ("00000", "00001")
                       for row in bench.rows(corpus / f"work/signals/{signal}/c/{shard}.parquet")}
                for name, signal in (("caption_lang", "caption"), ("category", "category"))}  # fmt: skip
    told = {f["key"]: f["signals"] for n, data in members(corpus, "concept").items() if n.endswith(".json")
            for f in [json.loads(data)]}  # fmt: skip
    rows = {row["key"]: row for row in table.to_pylist()}
    assert len(rows) == 11 and set(sidecars["category"].values()) <= {"food", "people"}
    for key, row in rows.items():
        for name in sidecars:
            assert row[name] == told[key][name] == sidecars[name][key]


def test_metadata_is_gone_orientation_and_pixels_stay(corpus: Path) -> None:
    build(prepared(corpus))
    raw = {r["key"]: r for r in bench.rows(corpus / "work/samples/c/00001.parquet")}["c/00001/turned"]
    source = (corpus / "raw/00001.tar").read_bytes()[raw["offset"] : raw["offset"] + raw["length"]]
    facts = {r["key"]: r for r in bench.rows(corpus / "work/shards/concept/000000.parquet")}["c/00001/turned"]
    stripped = (corpus / "work/shards/concept/000000.tar").read_bytes()[facts["offset"] :][: facts["length"]]
    assert b"SECRET" in source and b"SECRET" not in stripped
    assert Image.open(io.BytesIO(stripped)).getexif()[Base.Orientation] == 6
    assert (facts["width"], facts["height"]) == (240, 320)
    pixels = [cv2.imdecode(np.frombuffer(d, np.uint8), cv2.IMREAD_COLOR) for d in (source, stripped)]
    assert np.array_equal(*pixels)


@pytest.mark.parametrize("where", ["width > height", "width > height -- wide", "width > height -- ) or (true"])
def test_quality_phase_is_level_5_that_passes_its_predicate(corpus: Path, where: str) -> None:
    votes = {"c/00000/0": [5, 5, 5], "c/00000/1": [5, 5, 2], "c/00000/2": [4, 4, 4], "c/00000/3": [5, 4, 3],
             "c/00000/4": [5, 5], "c/00001/turned": [5, 5, 5], "c/00000/5": [5, 5, 1]}  # fmt: skip
    made = prepared(corpus, votes, shards={"quality": {"where": where}})
    assert build(made)["quality"] == {"images": 2, "shards": 1}
    keys = {r["key"]: r["level"] for r in bench.rows(corpus / "work/shards/quality/000000.parquet")}
    assert keys == {"c/00000/0": 5, "c/00000/1": 5}
    concept = {r["key"] for r in bench.rows(corpus / "work/shards/concept/000000.parquet")}
    assert "c/00000/5" not in concept and len(concept) == 10  # one vote for Level 1 holds it back
    stats = json.loads((corpus / "work/shards/concept/stats.json").read_text())
    assert stats["left_out"] == {"safety_review": 1}


def test_building_again_does_nothing_and_a_change_rebuilds(corpus: Path) -> None:
    made = prepared(corpus, shards={"samples_per_shard": 4})
    build(made)
    before = bench.tree(corpus / "work")
    assert not [t for p in plan(bench.opened(made)) for t in p.stale]
    build(made)
    assert bench.tree(corpus / "work") == before
    fewer = prepared(corpus, shards={"samples_per_shard": 6})
    assert build(fewer)["concept"]["shards"] == 2
    assert len(list((corpus / "work/shards/concept").glob("*.tar"))) == 2  # the third one is removed


def test_an_interrupted_build_goes_on_to_the_same_bytes(corpus: Path) -> None:
    made = prepared(corpus, shards={"samples_per_shard": 3})
    build(made)
    whole = bench.tree(corpus / "work")
    for path in (corpus / "work/shards/concept").glob("00000[12].parquet"):
        path.unlink()
    (corpus / "work/shards/concept/000003.tar").unlink()
    assert len([t for p in plan(bench.opened(made)) for t in p.stale]) == 3
    build(made)
    assert bench.tree(corpus / "work") == whole


def test_the_card_is_a_hub_card_and_says_what_was_done(corpus: Path) -> None:
    from huggingface_hub import DatasetCard

    votes = {"c/00000/0": [5, 5, 5], "c/00000/3": [5, 4, 3]}
    build(prepared(corpus, votes, select={"where": {"size": "width >= 200"}},
                   card={"pretty_name": "My set", "license": "cc-by-4.0", "notes": ["votes by hand"]}))  # fmt: skip
    card = DatasetCard.load(corpus / "work/shards/quality/README.md")
    assert card.content == (corpus / "work/shards/quality/README.md").read_text()  # as the hub's library writes it
    assert card.data.license == "cc-by-4.0" and card.data.language == ["zh", "en"]
    assert card.data.task_categories == ["text-to-image"]
    for said in ("# My set: quality phase", "width >= 200", "votes by hand", "| Level 5 | 1 |", "| tie | 1 |"):
        assert said in card.text


def test_the_card_tells_the_licences_of_the_models_that_scored(corpus: Path) -> None:
    build(prepared(corpus, signals={"photo": {}, "safety": {}}))
    card = (corpus / "work/shards/concept/README.md").read_text()
    (photo,) = re.findall(r"^\| photo \| .*$", card, re.MULTILINE)
    (safety,) = re.findall(r"^\| safety \| .*$", card, re.MULTILINE)
    assert photo.endswith("| none |  |") and "| open_nsfw |" in safety and "open-nsfw.onnx 864bb37bf886" in safety
    assert "not violence, gore or horror" in safety and safety.endswith(": BSD-2-Clause |")


def test_missing_captions_name_the_command(corpus: Path) -> None:
    made = bench.recipe(corpus)
    bench.index(made)
    bench.score(made)
    Selection(bench.opened(made)).write()
    with pytest.raises(StageError, match="no caption: [0-9]+ kept rows?; run `curate caption RECIPE`"):
        plan(bench.opened(made))


def test_a_raw_shard_changed_since_is_not_built_from(corpus: Path) -> None:
    made = prepared(corpus)
    raw = corpus / "raw/00000.tar"
    data = bytearray(raw.read_bytes())
    data[600:700] = bytes(100)
    raw.write_bytes(data)
    with pytest.raises(StageError, match="changed since the index"):
        build(made)
    assert not (corpus / "work/shards/concept/000000.parquet").exists()


def test_a_wrong_quality_predicate_is_one_line_before_any_score(corpus: Path) -> None:
    with pytest.raises(UserError, match='shards.quality.where: there is no column "heigth"; did you mean "height"'):
        prepared(corpus, {"c/00000/0": [5, 5, 5]}, shards={"quality": {"where": "heigth > 3"}})


def test_a_damaged_picture_never_reaches_the_product(tmp_path: Path) -> None:
    cut = bench.encoded(bench.picture(1))
    files = {"cut.jpg": cut[: len(cut) // 2] + b"\xff\xd9", "good.jpg": bench.encoded(bench.picture(2))}
    texts = {"cut.txt": b"a cut picture", "good.txt": b"a good picture"}
    bench.write_tar(tmp_path / "raw" / "00000.tar", dict(sorted((files | texts).items())))
    build(prepared(tmp_path, signals={"caption": {}}))  # no signal that looks at the pixels
    assert {r["key"] for r in bench.rows(tmp_path / "work/shards/concept/000000.parquet")} == {"c/00000/good"}
    assert json.loads((tmp_path / "work/shards/concept/stats.json").read_text())["left_out"] == {"damaged": 1}


def test_a_picture_that_no_signal_could_decode_is_failed_whatever_the_predicates_read(tmp_path: Path) -> None:
    cut = bench.encoded(bench.picture(1))
    files = {"cut.jpg": cut[: len(cut) // 2] + b"\xff\xd9", "good.jpg": bench.encoded(bench.picture(2))}
    texts = {"cut.txt": b"a cut picture", "good.txt": b"a good picture"}
    bench.write_tar(tmp_path / "raw" / "00000.tar", dict(sorted((files | texts).items())))
    made = prepared(tmp_path, select={"where": {"wide": "width > 1"}})
    build(made)
    fates = {row["key"]: row["fate"] for row in bench.rows(tmp_path / "work/selection/c/00000.parquet")}
    assert fates == {"c/00000/cut": "failed", "c/00000/good": "kept"}
    funnel = json.loads((tmp_path / "work/selection/funnel.json").read_text())["funnel"]
    assert (funnel["failed"], funnel["kept"]) == (1, 1)
    card = (tmp_path / "work/shards/concept/README.md").read_text()
    assert "unreadable" in card


def test_a_product_shard_of_damaged_pictures_alone_is_empty_and_stops_nothing(tmp_path: Path) -> None:
    cut = bench.encoded(bench.picture(1))
    data = cut[: len(cut) // 2] + b"\xff\xd9"
    bench.write_tar(tmp_path / "raw" / "00000.tar", {"cut.jpg": data, "cut.txt": b"a cut picture"})
    assert build(prepared(tmp_path, signals={"caption": {}}))["concept"] == {"images": 0, "shards": 1}
    assert (tmp_path / "work/shards/concept/README.md").exists()


def test_what_no_signal_has_decoded_is_decoded_before_it_is_published(tmp_path: Path) -> None:
    """Neither `caption` nor the predicate reads pixels: that a picture is damaged is found by the writer alone."""
    whole = {
        "jpg": bench.encoded(bench.picture(1)), "png": bench.encoded(bench.picture(2), "PNG"),
        "webp": bench.encoded(bench.picture(3), "WEBP"), "tif": bench.encoded(bench.picture(4), "TIFF"),
        "gif": bench.encoded(bench.picture(5), "GIF"), "avif": bench.encoded(bench.picture(6), "AVIF"),
    }  # fmt: skip
    files = {f"whole-{ending}.{ending}": data for ending, data in whole.items()}
    files |= {f"cut-{ending}.{ending}": data[: len(data) * 3 // 4] for ending, data in whole.items()}
    nan = np.full((8, 8), np.nan, np.float32)
    files["nan.tif"] = bench.encoded(Image.fromarray(nan), "TIFF")
    texts = {f"{name.split('.')[0]}.txt": b"a picture" for name in files}
    bench.write_tar(tmp_path / "raw" / "00000.tar", dict(sorted((files | texts).items())))
    made = prepared(tmp_path, signals={"caption": {}}, select={"where": {"told": "caption_words >= 1"}})
    assert "cut-jpg" in " ".join(r["key"] for r in bench.rows(tmp_path / "work/selection/c/00000.parquet")
                                 if r["fate"] == "kept")  # fmt: skip
    build(made)
    folder = tmp_path / "work/shards/concept"
    keys = {r["key"] for r in bench.rows(folder / "000000.parquet")}
    assert keys == {f"c/00000/whole-{ending}" for ending in whole}
    failed = json.loads(pq.read_schema(folder / "000000.parquet").metadata[b"failed"])
    assert failed.keys() <= {"build truncated", "build corrupt", "build no_range"} and failed["build no_range"] == 1
    index = {r["key"]: r["status"] for r in bench.rows(tmp_path / "work/samples/c/00000.parquet")}
    left = sum(status == "ok" for status in index.values()) - len(whole)
    assert sum(failed.values()) == left >= 5
    assert json.loads((folder / "stats.json").read_text())["left_out"] == {"damaged": left}


def published(folder: Path, files: dict[str, bytes], **values: Any) -> dict[str, tuple[Image.Image, dict[str, Any]]]:
    """Builds a product of these files; returns the picture and the facts of each by the file's name up to its ending."""
    texts = {f"{name.split('.')[0]}.txt": b"a picture" for name in files}
    bench.write_tar(folder / "raw" / "00000.tar", dict(sorted((files | texts).items())))
    build(prepared(folder, **values))
    found = members(folder, "concept")
    pictures = {}
    for row in bench.rows(folder / "work/shards/concept/000000.parquet"):
        stem = f"{row['shard']}{row['index']:04d}"
        facts = json.loads(found[f"{stem}.json"])
        assert facts["icc"] == row["icc"]
        data = next(found[name] for e in ("jpg", "png", "webp") if (name := f"{stem}.{e}") in found)
        pictures[row["key"].rsplit("/", 1)[1]] = (Image.open(io.BytesIO(data)), facts)
    return pictures


def test_a_profile_is_kept_or_its_colours_are_converted_and_the_row_says_which(tmp_path: Path) -> None:
    p3, srgb = profiles.rgb_profile(), profiles.rgb_profile(profiles.SRGB)
    press, long = profiles.cmyk_profile(), profiles.rgb_profile(padding=3 << 19)
    drawn = bench.picture(1)
    inks = drawn.convert("CMYK")
    png = bench.encoded(drawn, "PNG")
    too_long = png[:33] + chunk(b"iCCP", b"P3\0\0" + zlib.compress(long)) + png[33:]
    files = {
        "jpg.jpg": bench.encoded(drawn, icc_profile=p3), "png.png": bench.encoded(drawn, "PNG", icc_profile=p3),
        "webp.webp": bench.encoded(drawn, "WEBP", lossless=True, icc_profile=p3),
        "inks.jpg": bench.encoded(inks, icc_profile=press),
        "tiff.tif": bench.encoded(drawn, "TIFF", icc_profile=p3),
        "avif.avif": bench.encoded(drawn, "AVIF", quality=95, icc_profile=p3),
        "inks-tiff.tif": bench.encoded(inks, "TIFF", icc_profile=press), "too-long.png": too_long,
        "srgb-tiff.tif": bench.encoded(drawn, "TIFF", icc_profile=srgb),
        "plain.jpg": bench.encoded(drawn), "plain-tiff.tif": bench.encoded(drawn, "TIFF"),
    }  # fmt: skip
    found = published(tmp_path, files, select={"dedup": {"exact": False}})
    assert {name: facts["icc"] for name, (_, facts) in found.items()} == {
        **dict.fromkeys(("jpg", "png", "webp", "inks"), "kept"),
        **dict.fromkeys(("tiff", "avif", "inks-tiff", "too-long"), "converted"),
        **dict.fromkeys(("srgb-tiff", "plain", "plain-tiff"), None),
    }
    for name, (image, facts) in found.items():
        kept = image.info.get("icc_profile")
        assert kept == ({"inks": press}.get(name, p3) if facts["icc"] == "kept" else None), name
    right = {"tiff": (drawn, p3), "too-long": (drawn, long), "inks-tiff": (inks, press)}
    for name, (image, profile) in right.items():
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        shown = ImageCms.profileToProfile(image, opened, ImageCms.createProfile("sRGB"), outputMode="RGB")
        assert np.abs(np.asarray(found[name][0], int) - np.asarray(shown, int)).max() <= 1, name
    card = (tmp_path / "work/shards/concept/README.md").read_text()
    assert "`icc`" in card


@pytest.mark.parametrize("format", ["heic", "jxl"])
def test_heic_and_jpeg_xl_are_written_anew_or_fail_with_the_remedy(tmp_path: Path, format: str) -> None:
    data = (Path(__file__).parents[2] / "data" / f"quarters.{format}").read_bytes()
    found = published(tmp_path, {"phone.jpg": data, "other.jpg": bench.encoded(bench.picture(1))})
    sample = {r["key"]: r for r in bench.rows(tmp_path / "work/samples/c/00000.parquet")}["c/00000/phone"]
    if importlib.util.find_spec(PACKAGES[format]) is None:
        assert sample["status"] == "failed" and sample["error"].startswith(f"{format}: ")
        assert "pip install 'curate[formats]'" in sample["error"] and found.keys() == {"other"}
        return
    assert (sample["format"], sample["width"], sample["height"]) == (format, 96, 64)
    image, facts = found["phone"]
    assert image.format == "PNG" and facts["icc"] is None
    assert np.array_equal(np.asarray(image), decode(data)[:, :, ::-1])


@pytest.mark.slow
def test_a_product_shard_draws_from_more_raw_shards_than_may_be_open(tmp_path: Path) -> None:
    for n in range(40):
        bench.write_tar(tmp_path / "raw" / f"{n:05d}.tar", {"a.jpg": bench.encoded(bench.picture(n)), "a.txt": b"text"})
    made = prepared(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 25, hard))
    try:
        assert build(made)["concept"]["images"] == 40
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_training_text_is_not_the_text_on_the_picture(corpus: Path) -> None:
    made = prepared(corpus, signals={"photo": {}, "ocr": {}}, select={"where": {"clean": "text not like '%STOCK%'"}})
    build(made)
    folder = corpus / "work/shards/concept"
    found = members(corpus, "concept")
    for row in bench.rows(folder / "000000.parquet"):
        assert row["text"] == found[f"000000{row['index']:04d}.txt"].decode() != ""
        assert "text" not in json.loads(found[f"000000{row['index']:04d}.json"])["signals"]


def test_a_quality_rule_that_fails_on_a_value_is_named(corpus: Path) -> None:
    made = prepared(corpus, {"c/00000/0": [5, 5, 5]}, shards={"quality": {"where": "cast(key as integer) > 3"}})
    with pytest.raises(UserError, match="^shards.quality.where: .*Could not convert string"):
        plan(bench.opened(made))
