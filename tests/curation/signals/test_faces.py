"""Counts, shares and boxes of faces against pictures that were counted by eye."""

import csv
import functools
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from curation.cli.first_recipe import sample_folder
from curation.errors import UserError
from curation.images import Picture, decode, fit
from curation.models.checkpoints import Models
from curation.models.faces.mtcnn_weights import WEIGHTS
from curation.signals.base import Row, Scores, Signal, make_signal
from curation.signals.faces import union_area
from tests.curation.models.faces.test_yunet import picture, write_yunet

CORPUS = Path(__file__).parents[3].parent / "shared" / "corpus"
"""Pictures counted by eye, not free ones: they lie beside the repository, where there is such a folder."""

TEAM, ASTRONAUT, ASTRONAUT_SMALL, PAIR = "000000007", "000000000", "000000011", "000010003"
GROUP, MILL_WORKERS = "000000010", "000000015"
TOO_HARD = {GROUP: "38 faces of about 15 pixels", MILL_WORKERS: "both look away and down"}
"""Pictures of the sample in which MTCNN cannot find every face at side 640 and min_face 32."""
PROFILES = "000010000", "000010017"
"""Pictures of the sample with one face each, seen from the side."""
LOOK_ALIKES = (
    "logo",
    "product photo",
    "poster",
    "cutout photo or drawing",
    "text line",
    "scene text",
    "picture with text",
)
"""Kinds of pictures of the corpus whose faces were not counted. Some are drawn, and found with good reason."""


pytestmark = pytest.mark.usefixtures("one_thread")


def stored(folder: Path) -> Iterator[tuple[str, bytes]]:
    """File name and bytes of every picture in img2dataset's tars."""
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if not member.name.endswith((".txt", ".json")):
                    yield member.name, tar.extractfile(member).read()


def counted(folder: Path) -> Iterator[tuple[str, bytes, int]]:
    """File name, bytes and number of faces of every picture that has been counted."""
    with open(folder / "labels.csv", encoding="utf-8", newline="") as file:
        labels = {r["file"]: int(r["value"]) for r in csv.DictReader(file) if r["field"] == "face_count"}
    return ((name, data, labels[name]) for name, data in stored(folder) if name in labels)


def look_alikes(folder: Path) -> Iterator[tuple[str, bytes]]:
    """File name and bytes of every picture of the kinds in which things only look like faces."""
    with open(folder / "labels.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    known = {r["file"] for r in rows if r["field"].startswith("face_count")}
    kinds = {r["file"] for r in rows if r["kind"] in LOOK_ALIKES} - known
    return ((name, data) for name, data in stored(folder) if name in kinds)


def turned(pixels: np.ndarray, degrees: float) -> np.ndarray:
    """The picture turned left about its middle, whole, on its own edges drawn out."""
    height, width = pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    cosine, sine = abs(matrix[0, 0]), abs(matrix[0, 1])
    size = round(width * cosine + height * sine), round(width * sine + height * cosine)
    matrix[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
    return cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


@functools.cache
def signal(**params: object) -> Signal:
    """The signal, checked and loaded as a worker does it."""
    made = make_signal("faces", params)
    made.check()
    made.load()
    return made


def score(*data: bytes, **params: object) -> list[Scores]:
    return signal(**params).score([Row(Picture(d), {}, {}) for d in data])


def found(pixels: np.ndarray, **params: object) -> int:
    """Number of faces in pixels at side 640."""
    return len(signal(**params).detector.detect([fit(pixels, 640)])[0])


@functools.cache
def true_yunet() -> str | None:
    """The released model, where there is one: a test net knows no faces."""
    files = sorted(Path(os.environ.get("CURATE_MODELS", "")).absolute().glob("yunet/*.onnx"))
    return str(files[0]) if files and os.environ.get("CURATE_MODELS") else None


needs_yunet = pytest.mark.skipif(true_yunet() is None, reason="CURATE_MODELS holds no yunet/*.onnx")
needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason="../shared/corpus is not there")


def test_counts_on_the_sample() -> None:
    pairs = {name: (score(data)[0]["face_count"], faces) for name, data, faces in counted(sample_folder())}
    assert len(pairs) >= 30
    wrong = {name.split(".")[0] for name, (ours, faces) in pairs.items() if ours != faces}
    assert wrong <= set(TOO_HARD)


@pytest.mark.slow
@needs_corpus
def test_counts_on_the_counted_corpus() -> None:
    pictures = list(counted(CORPUS))
    wrong = [name for name, data, faces in pictures if score(data)[0]["face_count"] != faces]
    assert len(pictures) >= 250
    assert len(wrong) <= 2, wrong


@pytest.mark.slow
@needs_corpus
def test_what_only_looks_like_a_face() -> None:
    """Of logos, posters, products and pictures of text two have drawn faces that count: a composer, a girl."""
    pictures = list(look_alikes(CORPUS))
    false = [name for name, data in pictures if score(data)[0]["face_count"]]
    assert len(pictures) >= 200
    assert len(false) <= 3, false


@pytest.mark.parametrize("degrees", [-30, -15, 15, 30])
def test_tilted_faces(sample_photos: dict[str, bytes], degrees: int) -> None:
    people = [decode(sample_photos[key], 640) for key in (TEAM, ASTRONAUT, PAIR, *PROFILES)]
    assert sum(found(p) for p in people) == 9
    assert sum(found(turned(p, degrees)) for p in people) >= 8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_that_its_exif_turns(sample_photos: dict[str, bytes], orientation: int) -> None:
    """Stored as EXIF says, lying or mirrored, it is turned upright before anything looks at it."""
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's number of what undoes it
    image = Image.open(io.BytesIO(sample_photos[TEAM]))
    if orientation > 1:
        image = image.transpose(Image.Transpose(turns[orientation]))
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    image.save(buffer, "JPEG", quality=95, exif=exif)
    (scores,), (upright,) = score(buffer.getvalue()), score(sample_photos[TEAM])
    assert scores["face_count"] == 4
    boxes = [sorted(box[:4] for box in s["face_boxes"]) for s in (scores, upright)]
    assert np.abs(np.subtract(*boxes)).max() < 0.03


def test_faces_seen_from_the_side(sample_photos: dict[str, bytes]) -> None:
    assert [score(sample_photos[key])[0]["face_count"] for key in PROFILES] == [1, 1]


def test_small_faces_are_found_when_asked_for(sample_photos: dict[str, bytes]) -> None:
    """The group of 38, whose faces are too small at the usual size."""
    assert score(sample_photos[GROUP], side=1280, min_face=16)[0]["face_count"] >= 34


def test_columns(sample_photos: dict[str, bytes]) -> None:
    (scores,) = score(sample_photos[TEAM])
    assert set(scores) == set(signal().columns)
    boxes = scores["face_boxes"]
    assert scores["face_count"] == len(boxes) == 4
    for name, kind in signal().columns.items():
        pa.array([scores[name]], kind)
    for x0, y0, x1, y1, probability in boxes:
        assert 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1 and 0.95 < probability <= 1
    assert all(value == round(value, 4) for box in boxes for value in box)
    assert [box[4] for box in boxes] == sorted((box[4] for box in boxes), reverse=True)
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1, _ in boxes]
    assert scores["face_area_share"] == pytest.approx(sum(areas), abs=1e-3)


def test_no_face(image_bytes) -> None:
    nothing = {"face_count": 0, "face_area_share": 0.0, "face_boxes": []}
    assert score(image_bytes(size=(300, 200))) == [nothing]


@pytest.mark.parametrize("size", [(1, 1), (20, 20), (4000, 1), (1, 4000)])
def test_tiny_pictures(image_bytes, size: tuple[int, int]) -> None:
    assert score(image_bytes(0, "PNG", size))[0]["face_count"] == 0


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1"])
def test_every_mode(image_bytes, mode: str) -> None:
    assert score(image_bytes(0, "PNG", (200, 150), mode))[0]["face_count"] == 0


def test_a_row_is_scored_alike_in_any_batch(sample_photos: dict[str, bytes], image_bytes) -> None:
    data = [sample_photos[TEAM], image_bytes(), sample_photos[ASTRONAUT], sample_photos[PAIR]]
    together = score(*data)
    assert together == [score(d)[0] for d in data]
    assert together == score(*reversed(data))[::-1]


def test_boxes_hold_at_any_size_of_the_file(sample_photos: dict[str, bytes]) -> None:
    """The astronaut and her smaller copy: shares of the picture, not pixels."""
    (large,), (small,) = (score(sample_photos[n])[0]["face_boxes"] for n in (ASTRONAUT, ASTRONAUT_SMALL))
    assert np.abs(np.subtract(large[:4], small[:4])).max() < 0.03


def test_min_face_and_threshold_reach_the_detector(sample_photos: dict[str, bytes]) -> None:
    team = sample_photos[TEAM]
    assert score(team, min_face=400)[0]["face_count"] == 0
    assert score(team, threshold=0.9999)[0]["face_count"] < 4


@pytest.mark.parametrize(
    ("params", "key"),
    [
        ({"min_face": 11}, "min_face"),
        ({"threshold": 1.0}, "threshold"),
        ({"threshold": 0.2}, "threshold"),
        ({"side": 100}, "side"),
        ({"backend": "haar"}, "backend"),
        ({"nms": 0.3}, "nms"),
        ({"backend": "yunet", "nms": 0}, "nms"),
        ({"backend": "yunet", "threshold": 1}, "threshold"),
    ],
)
def test_params_out_of_bounds_are_refused(params: dict[str, object], key: str) -> None:
    with pytest.raises(UserError, match=rf"signals\.faces\.{key}"):
        make_signal("faces", params)


def test_mtcnn_is_the_default_and_its_models_are_the_weights() -> None:
    assert make_signal("faces", {}).backend == "mtcnn"
    assert make_signal("faces", {}).digests() == WEIGHTS


def test_the_side_is_that_of_the_parameters() -> None:
    assert [make_signal("faces", {"side": side}).side for side in (640, 1280)] == [640, 1280]


class TestYunet:
    def test_columns(self, tmp_path: Path) -> None:
        """Of a photo of 960 by 480 pixels, looked at with 480: a red square of 64 and a blue one of 16 of its pixels."""
        pixels = picture((32, 2, 3), (8, 40, 4), size=(960, 480), scale=2)
        made = make_signal("faces", yunet(tmp_path, side=480, min_face=8), Models(tmp_path))
        made.check()
        made.load()
        (scores,) = made.score([Row(Picture(png(pixels)), {}, {})])
        assert scores["face_count"] == 2
        assert scores["face_area_share"] == pytest.approx((64**2 + 16**2) / (960 * 480), rel=0.02)
        red, blue = sorted(scores["face_boxes"])
        assert red == pytest.approx([128 / 960, 192 / 480, 192 / 960, 256 / 480, 1], abs=2e-3)
        assert blue == pytest.approx([640 / 960, 64 / 480, 656 / 960, 80 / 480, 1], abs=2e-3)
        for name, kind in made.columns.items():
            pa.array([scores[name]], kind)

    def test_the_columns_are_those_of_mtcnn(self) -> None:
        assert make_signal("faces", {"backend": "yunet"}).columns == make_signal("faces", {}).columns

    def test_a_row_is_scored_alike_in_any_batch(self, tmp_path: Path) -> None:
        pictures = [picture((32, 1 + i % 3, 2), size=(200 + 70 * i, 300 - 40 * i)) for i in range(6)]
        rows = [Row(Picture(png(pixels)), {}, {}) for pixels in pictures]
        made = make_signal("faces", yunet(tmp_path), Models(tmp_path))
        made.load()
        alone = [made.score([row])[0] for row in rows]
        assert all(scores["face_count"] == 1 for scores in alone)
        assert made.score(rows) == alone and made.score(rows[::-1]) == alone[::-1]

    def test_another_model_is_another_fingerprint(self, tmp_path: Path) -> None:
        given = yunet(tmp_path)
        first = make_signal("faces", given, Models(tmp_path)).digests()
        write_yunet(tmp_path / "m.onnx", boxes={8: (0.5, 0.5, 0.1, 0.1)})
        assert list(first) == ["m.onnx"] and make_signal("faces", given, Models(tmp_path)).digests() != first

    def test_a_model_that_is_not_there(self, tmp_path: Path) -> None:
        made = make_signal("faces", {"backend": "yunet", "model": "yunet/m.onnx"}, Models(tmp_path))
        for ask in (made.check, made.digests, made.load):
            with pytest.raises(UserError, match=r"^signals\.faces\.model: no yunet/m\.onnx in "):
                ask()

    def test_a_model_that_is_none(self, tmp_path: Path) -> None:
        given = yunet(tmp_path)
        (tmp_path / "m.onnx").write_text("<!DOCTYPE html>")
        with pytest.raises(UserError, match=rf"^signals\.faces\.model: {tmp_path}/m\.onnx .*no ONNX"):
            make_signal("faces", given, Models(tmp_path)).check()

    @needs_yunet
    def test_the_released_model_counts_the_sample(self) -> None:
        pictures = list(counted(sample_folder()))
        got = {name: score(data, backend="yunet", model=true_yunet())[0]["face_count"] for name, data, _ in pictures}
        wrong = [name for name, _, faces in pictures if got[name] != faces]
        assert len(wrong) <= 4, wrong

    @needs_yunet
    @pytest.mark.parametrize("fill", [0.6, 1.0])
    def test_the_released_model_finds_a_face_that_fills_the_picture(
        self, sample_photos: dict[str, bytes], fill: float
    ) -> None:
        astronaut = decode(sample_photos[ASTRONAUT])
        height, width = astronaut.shape[:2]
        x0, y0, x1, y1 = np.array(score(sample_photos[ASTRONAUT])[0]["face_boxes"][0][:4]) * [
            width,
            height,
            width,
            height,
        ]
        half = max(x1 - x0, y1 - y0) / fill / 2
        left, top = max(0, round((x0 + x1) / 2 - half)), max(0, round((y0 + y1) / 2 - half))
        crop = astronaut[top : top + round(2 * half), left : left + round(2 * half)]
        close = cv2.resize(crop, (640, 640), interpolation=cv2.INTER_CUBIC)
        assert found(close, backend="yunet", model=true_yunet()) == 1


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def yunet(folder: Path, **params: object) -> dict[str, object]:
    """Parameters for a net that finds coloured squares, put into the folder."""
    write_yunet(folder / "m.onnx")
    return {"backend": "yunet", "model": "m.onnx", **params}


@pytest.mark.parametrize(
    ("boxes", "area"),
    [
        ([], 0),
        ([[0, 0, 1, 1]], 1),
        ([[0.2, 0.2, 0.2, 0.9]], 0),
        ([[0, 0, 0.5, 1], [0.5, 0, 1, 1]], 1),
        ([[0, 0, 0.5, 0.5], [0.25, 0.25, 0.75, 0.75]], 0.4375),
        ([[0.1, 0.1, 0.9, 0.9], [0.2, 0.2, 0.3, 0.3]], 0.64),
    ],
)
def test_union_area(boxes: list[list[float]], area: float) -> None:
    assert union_area(np.array(boxes, np.float32).reshape(-1, 4)) == pytest.approx(area, abs=1e-6)


def test_the_module_imports_no_torch() -> None:
    code = "import sys, curation.signals.faces; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
