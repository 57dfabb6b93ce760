"""Signal provenance: it says what the metadata of every format say, nothing that they do not, and decodes nothing."""

import csv
import statistics
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation import images
from curation.images import Picture
from curation.models.plugin import PluginParams
from curation.signals.base import Row, Scores
from curation.signals.provenance import AI_EVIDENCE, LONGEST, Provenance
from tests import bench
from tests import metadata_samples as samples
from tests.hostile import fuzz
from tests.labelled import CORPUS, files
from tests.metadata_samples import FORMATS, chunk, exif, iim, png, saved, store, with_c2pa, with_iptc, xmp

NOTHING = dict.fromkeys(Provenance.columns) | {"has_c2pa": False}
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
SETTINGS = "a cat\nNegative prompt: a dog\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512"
JOB = "a cat --v 6 Job ID: 01234567-89ab-cdef-0123-456789abcdef"
LABEL = '{"Label":"1","ContentProducer":"001","ProduceID":"x"}'


def score(data: bytes) -> Scores:
    return Provenance(PluginParams()).score([Row(Picture(data), {}, {})])[0]  # type: ignore[return-value]


def source_type(kind: str) -> bytes:
    return store(b"\xa1\x71digitalSourceType\x78" + bytes([len(SOURCE_TYPES + kind)]) + (SOURCE_TYPES + kind).encode())


def unicode_comment(text: str, encoding: str) -> bytes:
    return exif(user_comment=b"UNICODE\0" + text.encode(encoding))


@pytest.mark.parametrize("format", [*FORMATS, "GIF", "BMP"])
def test_a_file_without_metadata_says_nothing(format: str) -> None:
    assert score(bench.encoded(samples.PICTURE, format)) == NOTHING


def test_a_camera_and_an_editor_are_no_evidence() -> None:
    block = exif(
        make="Canon", software="Adobe Photoshop 25.0 (Windows)", description="Midjourney, a town", orientation=1
    )
    packet = xmp(xmp__CreatorTool="GIMP 2.10", Iptc4xmpExt__DigitalSourceType=f"{SOURCE_TYPES}digitalCapture")
    for data in (saved("JPEG", block, packet), with_c2pa("JPEG", source_type("digitalCapture"))):
        assert (score(data)["ai_generated"], score(data)["ai_evidence"]) == (None, None)


EVIDENCE = {
    "webui PNG": ("sd_webui", lambda: saved("PNG", parameters=SETTINGS)),
    "webui JPEG": ("sd_webui", lambda: saved("JPEG", unicode_comment(SETTINGS, "utf-16-be"))),
    "webui WebP": ("sd_webui", lambda: saved("WEBP", unicode_comment(SETTINGS, "utf-16-le"))),
    "comfyui prompt": ("comfyui", lambda: saved("PNG", prompt='{"3": {"class_type": "KSampler", "inputs": {}}}')),
    "comfyui workflow": ("comfyui", lambda: saved("PNG", workflow='{"last_node_id": 9, "nodes": []}')),
    "comfyui WebP": ("comfyui", lambda: saved("WEBP", exif(make='prompt:{"3": {"class_type": "KSampler"}}'))),
    "novelai": ("novelai", lambda: saved("PNG", Title="NovelAI generated image", Software="NovelAI")),
    "invokeai": ("invokeai", lambda: saved("PNG", invokeai_metadata="{}")),
    "midjourney PNG": ("midjourney", lambda: saved("PNG", Description=JOB)),
    "midjourney XMP": ("midjourney", lambda: saved("JPEG", xmp=xmp(f"<dc:description>{JOB}</dc:description>"))),
    "label in XMP": ("aigc", lambda: saved("JPEG", xmp=xmp(f"<TC260:AIGC>{LABEL}</TC260:AIGC>"))),
    "label in PNG": ("aigc", lambda: saved("PNG", AIGC=LABEL)),
    "software": (
        "software",
        lambda: saved("JPEG", exif(make="Black Forest Labs", software="AI generated;txt2img;flux")),
    ),
    "creator tool": ("software", lambda: saved("WEBP", xmp=xmp(xmp__CreatorTool="Adobe Firefly"))),
    "credit": ("software", lambda: saved("JPEG", xmp=xmp(photoshop__Credit="Made with Google AI"))),
    "DALL·E": ("software", lambda: saved("PNG", Software="OpenAI DALL·E 3")),
}


@pytest.mark.parametrize("name", EVIDENCE)
def test_generators_are_known_by_what_they_write(name: str) -> None:
    expected, made = EVIDENCE[name]
    scores = score(made())
    assert (scores["ai_generated"], scores["ai_evidence"]) == (True, expected)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", ["trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"])
def test_source_types_in_c2pa_and_in_xmp(format: str, kind: str) -> None:
    scores = score(with_c2pa(format, source_type(kind)))
    assert (scores["ai_generated"], scores["ai_evidence"], scores["has_c2pa"]) == (True, "c2pa", True)
    scores = score(saved(format, xmp=xmp(Iptc4xmpExt__DigitalSourceType=SOURCE_TYPES + kind)))
    assert (scores["ai_generated"], scores["ai_evidence"], scores["has_c2pa"]) == (True, "iptc", False)


@pytest.mark.parametrize(
    "made",
    [
        lambda: saved("PNG", parameters="width=3, Steps: many"),
        lambda: saved("PNG", prompt="what is this?", workflow="scan, crop"),
        lambda: saved("PNG", Software="not AI generated"),
        lambda: saved("JPEG", xmp=xmp('<TC260:AIGC>{"Label":"2"}</TC260:AIGC>')),
        lambda: saved("JPEG", exif(software="Dalle Scanner")),
        lambda: saved("JPEG", xmp=xmp("<dc:description>Job ID: 17</dc:description>")),
    ],
)
def test_what_is_only_like_evidence_is_none(made) -> None:
    assert score(made())["ai_evidence"] is None


def test_every_evidence_has_a_test() -> None:
    assert {evidence for evidence, _ in EVIDENCE.values()} | {"c2pa", "iptc"} == set(AI_EVIDENCE)


LICENCE = "https://creativecommons.org/licenses/by/4.0/"


@pytest.mark.parametrize(
    ("data", "licence", "creator"),
    [
        (saved("JPEG", xmp=xmp(f'<cc:license rdf:resource="{LICENCE}"/><dc:rights>© A</dc:rights>')), LICENCE, None),
        (saved("PNG", xmp=xmp(xmpRights__WebStatement=LICENCE)), LICENCE, None),
        (saved("WEBP", xmp=xmp("<xmpRights:UsageTerms><rdf:Alt><rdf:li>CC0</rdf:li></rdf:Alt></xmpRights:UsageTerms>")), "CC0", None),
        (with_iptc(iim((116, b"(c) Doe"), (80, b"J. Doe"), (80, b"A. Roe"))), "(c) Doe", "J. Doe, A. Roe"),
        (saved("JPEG", exif(copyright="2020 Doe", artist="Doe")), "2020 Doe", "Doe"),
        (saved("PNG", Copyright="CC BY", Author="Doe"), "CC BY", "Doe"),
        (saved("JPEG", exif(copyright="  ", artist=" \t")), None, None),
        (saved("TIFF", exif(copyright="B", artist="C"), xmp("<dc:creator>D</dc:creator>")), "B", "D"),
    ],
)  # fmt: skip
def test_licence_and_creator(data: bytes, licence: str | None, creator: str | None) -> None:
    assert (score(data)["licence_tag"], score(data)["creator_tag"]) == (licence, creator)


def test_texts_are_cut_and_free_of_control_characters() -> None:
    text = "\x1b[31mred\x07 \u202eevil\nline " + "x" * 5000
    scores = score(png(chunk(b"iTXt", b"Copyright\0\0\0\0\0" + text.encode())))
    assert scores["licence_tag"].startswith("red evil line xxx") and len(scores["licence_tag"]) == LONGEST


PLUS = "http://ns.useplus.org/ldf/vocab/"


@pytest.mark.parametrize(
    ("data", "tdm_reserved", "noai"),
    [
        (saved("JPEG", xmp=xmp(plus__DataMining=f"{PLUS}DMI-PROHIBITED")), True, True),
        (saved("JPEG", xmp=xmp(plus__DataMining=f"{PLUS}DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING")), True, True),
        (saved("JPEG", xmp=xmp(plus__DataMining=f"{PLUS}DMI-PROHIBITED-SEECONSTRAINT")), True, True),
        (saved("JPEG", xmp=xmp(plus__DataMining="DMI-PROHIBITED-GENAIMLTRAINING")), None, True),
        (saved("JPEG", xmp=xmp(plus__DataMining=f"{PLUS}DMI-PROHIBITED-AIMLTRAINING")), None, True),
        (saved("JPEG", xmp=xmp(plus__DataMining=f"{PLUS}DMI-ALLOWED")), False, False),
        (saved("JPEG", xmp=xmp(plus__DataMining=f"{PLUS}DMI-UNSPECIFIED")), None, None),
        (saved("WEBP", xmp=xmp("<tdm:reservation>1</tdm:reservation>")), True, None),
        (saved("WEBP", xmp=xmp("<tdm:reservation>0</tdm:reservation>")), False, None),
        (saved("WEBP", xmp=xmp("<tdm:reservation>0</tdm:reservation>", plus__DataMining="DMI-PROHIBITED")), True, True),
        (saved("PNG", xmp=xmp("<dc:subject><rdf:Bag><rdf:li>noai</rdf:li></rdf:Bag></dc:subject>")), None, True),
        (saved("PNG", Copyright="all rights reserved; NoImageAI"), None, True),
        (with_iptc(iim((25, b"noimageai"))), None, True),
        (with_iptc(iim((25, b"Hanoi"), (25, b"no aim"))), None, None),
        (with_c2pa("PNG", store(b"\xa1\x70c2pa.data_mining\xa1\x63use\x6anotAllowed")), True, None),
        (with_c2pa("PNG", store(b"\xa1\x70c2pa.ai_training\xa1\x63use\x67allowed")), None, False),
    ],
)
def test_reservations(data: bytes, tdm_reserved: bool | None, noai: bool | None) -> None:
    assert (score(data)["tdm_reserved"], score(data)["noai"]) == (tdm_reserved, noai)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("orientation", [*range(1, 9), 0, 9])
def test_orientation(format: str, orientation: int) -> None:
    expected = orientation if 1 <= orientation <= 8 else None
    found = score(saved(format, exif(orientation=orientation)))["exif_orientation"]
    assert found == expected or (format == "AVIF" and orientation in (0, 1, 9) and found in (None, 1))


# --- In a pass


def test_the_pass_gives_the_file_and_decodes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = saved("JPEG", exif(copyright="Doe", orientation=6))
    cut = bench.encoded(bench.picture(3), exif=exif(copyright="Roe"))[:-2000]
    bench.write_tar(tmp_path / "raw" / "00000.tar", {"a.jpg": whole, "b.jpg": cut})
    recipe = bench.recipe(tmp_path, signals={"provenance": {}}, select={"where": {"free": "noai IS NOT TRUE"}})
    bench.index(recipe)

    def decode(*_: object) -> np.ndarray:
        raise AssertionError("decoded")

    monkeypatch.setattr(images, "decode", decode)
    assert bench.score(recipe) == 2
    rows = bench.rows(tmp_path / "work" / "signals" / "provenance" / "c" / "00000.parquet")
    assert [(r["provenance_state"], r["licence_tag"], r["exif_orientation"]) for r in rows] == [
        ("scored", "Doe", 6),
        ("scored", "Roe", None),
    ]


def test_a_side_of_nothing_is_no_pixels() -> None:
    picture = Picture(b"no image at all")
    assert picture.bgr(0).shape == (0, 0, 3)


# --- On whatever comes

FILES = samples.all_kinds()


@fuzz(400)
@given(st.sampled_from(sorted(FILES)), st.binary(max_size=60), st.floats(0, 1), st.integers(0, 200))
def test_damage_gives_nulls_and_never_an_error(name: str, junk: bytes, place: float, length: int) -> None:
    data = FILES[name]
    at = int(place * len(data))
    scores = score(data[:at] + junk + data[at + length :])
    assert scores.keys() == Provenance.columns.keys()
    for text in (scores["licence_tag"], scores["creator_tag"]):
        assert text is None or (0 < len(text) <= LONGEST and text.encode())


@fuzz(200)
@given(st.binary(max_size=400), st.sampled_from(["xmp", "exif", "iptc", "c2pa", "text", "user_comment"]))
def test_noise_in_a_block_gives_nulls_and_never_an_error(noise: bytes, block: str) -> None:
    made = {
        "xmp": lambda: saved("JPEG", xmp=noise or b"x"),
        "exif": lambda: saved("JPEG", b"Exif\0\0II*\0" + noise),
        "iptc": lambda: with_iptc(noise),
        "c2pa": lambda: with_c2pa("WEBP", store(noise)),
        "text": lambda: png(chunk(b"zTXt", b"parameters\0" + noise), chunk(b"iTXt", noise), chunk(b"tEXt", noise)),
        "user_comment": lambda: saved("JPEG", exif(user_comment=noise)),
    }[block]
    assert score(made()).keys() == Provenance.columns.keys()


@pytest.mark.parametrize("character", ["a", " ", "{", '"', "-", "0", "Job ID: 0", "Steps: 1, ", '"Label" ', "noai "])
def test_long_texts_take_no_long_time(character: str) -> None:
    text = character * (3_000_000 // len(character))
    began = time.process_time()
    score(saved("PNG", parameters=text))
    score(png(chunk(b"tEXt", b"Description\0" + text.encode()), chunk(b"tEXt", b"AIGC\0" + text[:900_000].encode())))
    score(with_c2pa("TIFF", store(("digitalsourcetype/" + text).encode())))
    score(with_iptc(struct.pack(">BBBH", 0x1C, 2, 116, 30_000) + text.encode()[:30_000]))
    assert time.process_time() - began < 3


@pytest.mark.skipif(not CORPUS.is_dir(), reason="../shared/corpus is not there")
def test_photos_of_the_corpus_are_cheap_and_none_is_called_generated() -> None:
    with open(CORPUS / "labels.csv", encoding="utf-8", newline="") as file:
        generated = {r["file"] for r in csv.DictReader(file) if (r["field"], r["value"]) == ("is_generated", "1")}
    times, called = [], set()
    for name, data in files(CORPUS):
        began = time.process_time()
        scores = score(data)
        times.append((time.process_time() - began) * 1000)
        called |= {name} if scores["ai_generated"] else set()
    print(f"{statistics.mean(times):.3f} ms of {len(times)} files, called generated: {sorted(called)}")
    assert called <= generated and statistics.median(times) < 0.2
