"""Photo statistics: against their definitions, on pictures whose values are known, and on the bundled photos."""

import csv
import io
import math
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from curation.cli.first_recipe import sample_folder
from curation.images import Picture, decode, fit
from curation.models.plugin import PluginParams
from curation.signals._colour import cast_and_gray, colourfulness, saturation
from curation.signals.base import Row
from curation.signals.photo import Photo, border_share, exposure, gray_512, phash, seam_score, sharpness
from tests import bench
from tests.labelled import CORPUS, auc, files, read_labels, sharp_photos

NAMES = ["000000001", "000000004", "000000006", "000000007", "000000012", "000010006", "000010007"]
"""Bundled photos of different kinds: buildings, animals, people, landscapes; none framed, none blurred."""


def score(data: bytes) -> dict:
    return Photo(PluginParams()).score([Row(Picture(data), {}, {})])[0]


def jpeg(pixels: np.ndarray, quality: int = 90) -> bytes:
    """A JPEG of B, G, R pixels."""
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, ::-1] if pixels.ndim == 3 else pixels).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


@pytest.fixture(params=NAMES)
def photo(request: pytest.FixtureRequest, sample_photos: dict[str, bytes]) -> np.ndarray:
    return decode(sample_photos[request.param])


def test_every_column_is_given_and_finite(sample_photos: dict[str, bytes]) -> None:
    for name, data in sample_photos.items():
        scores = score(data)
        assert scores.keys() == Photo.columns.keys(), name
        assert all(math.isfinite(v) for v in scores.values() if v is not None), name


def test_scores_are_the_same_each_time_and_in_any_company(sample_photos: dict[str, bytes]) -> None:
    rows = [Row(Picture(sample_photos[name]), {}, {}) for name in NAMES]
    rows[0].picture.bgr(64)  # another signal has looked at it before
    together = Photo(PluginParams()).score(rows)
    assert together == [score(sample_photos[name]) for name in NAMES]


GOLDEN = {
    "sharpness": (25.963694, 68.577884),
    "brightness": (0.465901, 0.499246),
    "contrast": (0.204075, 0.189431),
    "clip_low": (0.0, 0.0),
    "clip_high": (0.0, 0.0),
    "entropy": (7.579198, 7.598983),
    "colourfulness": (140.483745, 134.186829),
    "border_share": (0.0, 0.0),
    "seam_score": (1.0, 0.742188),
    "phash": (10153349248280309706, 13640448401414525988),
}
"""Scores by version 2 of a picture that is decoded at half size, and of a small one."""


@pytest.mark.parametrize(("at", "size"), [(0, (1700, 900)), (1, (300, 420))])
def test_a_column_keeps_its_values_from_version_to_version(at: int, size: tuple[int, int]) -> None:
    scores = score(bench.encoded(bench.picture(at + 1, size), "PNG"))
    assert {column: scores[column] for column in GOLDEN} == pytest.approx(
        {column: values[at] for column, values in GOLDEN.items()}, rel=1e-5
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_measure_of_a_turned_jpeg_is_of_the_upright_picture(orientation: int) -> None:
    """Scores are those of the same pixels stored upright; for PNG and WebP see tests/curation/test_hostile_images.py."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = bench.encoded(bench.picture(5, (400, 300)), exif=exif.tobytes())
    upright = bench.encoded(Image.fromarray(decode(data)[:, :, ::-1]), "PNG")
    assert Image.open(io.BytesIO(upright)).size == ((400, 300) if orientation < 5 else (300, 400))
    turned, expected = score(data), score(upright)
    of_pixels = turned.keys() - {"bits_per_pixel", "jpeg_quality"}
    assert {c: turned[c] for c in of_pixels} == {c: expected[c] for c in of_pixels}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_index_notes_the_upright_size(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = bench.encoded(bench.picture(5, (400, 300)), exif=exif.tobytes())
    bench.write_tar(tmp_path / "raw" / "00000.tar", {"a.jpg": data})
    bench.index(bench.recipe(tmp_path))
    (row,) = bench.rows(tmp_path / "work" / "samples" / "c" / "00000.parquet")
    width, height = (400, 300) if orientation < 5 else (300, 400)
    assert (row["width"], row["height"], row["min_side"]) == (width, height, 300)
    assert row["aspect_ratio"] == pytest.approx(width / height, rel=1e-4)


# --- sharpness


def sharpness_by_definition(gray: np.ndarray) -> float:
    """Square root of the 90th percentile of tile variances of the 3×3 Laplacian, edges mirrored."""
    g = np.pad(gray.astype(np.int64), 1, mode="reflect")
    laplacian = g[:-2, 1:-1] + g[2:, 1:-1] + g[1:-1, :-2] + g[1:-1, 2:] - 4 * g[1:-1, 1:-1]
    height, width = gray.shape
    if height < 128 or width < 128:
        return float(laplacian.std())
    tiles = [
        laplacian[y : y + 128, x : x + 128].var()
        for y in range(0, height - 127, 128)
        for x in range(0, width - 127, 128)
    ]
    return float(np.percentile(tiles, 90) ** 0.5)


@pytest.mark.parametrize("shape", [(512, 340), (128, 128), (300, 512), (127, 512), (90, 60), (2, 2)])
def test_sharpness_is_its_definition(shape: tuple[int, int]) -> None:
    gray = cv2.GaussianBlur(noise(*shape, seed=shape[0]), (0, 0), 0.8)
    assert sharpness(gray) == pytest.approx(sharpness_by_definition(gray), rel=1e-6, abs=1e-6)


def test_sharpness_of_a_photo_is_its_definition_at_512(photo: np.ndarray) -> None:
    data = jpeg(photo)
    reduced = decode(data, 512)
    height, width = reduced.shape[:2]
    scale = 512 / max(height, width)
    gray = cv2.cvtColor(reduced, cv2.COLOR_BGR2GRAY)
    if scale < 1:
        gray = cv2.resize(gray, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_LINEAR)
    assert score(data)["sharpness"] == pytest.approx(sharpness_by_definition(gray), rel=1e-6)


def test_sharpness_falls_with_blur(photo: np.ndarray) -> None:
    values = [score(jpeg(photo, 95))["sharpness"]]
    values += [score(jpeg(cv2.GaussianBlur(photo, (0, 0), s), 95))["sharpness"] for s in (1, 2, 4, 8)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 2 * values[-1]


def test_a_sharp_subject_before_a_soft_ground_is_sharp() -> None:
    gray = np.full((512, 512), 128, np.uint8)
    assert sharpness(gray) == 0
    gray[:256, :256] = noise(256, 256)  # four of sixteen tiles
    assert sharpness(gray) == pytest.approx(sharpness(noise(256, 256)), rel=0.05)


@pytest.mark.skipif(not CORPUS.is_dir(), reason="../shared/corpus is not there")
def test_of_each_labelled_pair_the_blurred_one_is_less_sharp() -> None:
    labels = read_labels(CORPUS / "labels.csv")
    pairs: dict[str, dict[str, float]] = {}
    for name, data in files(CORPUS):
        if name in labels["blur_pair"]:
            pairs.setdefault(labels["blur_pair"][name], {})[labels["is_blurry"][name]] = score(data)["sharpness"]
    assert len(pairs) >= 3
    assert all(pair["0"] > 1.5 * pair["1"] for pair in pairs.values()), pairs


@pytest.mark.slow
@pytest.mark.parametrize(("side", "least"), [(1024, 0.97), (None, 0.95)], ids=["1024", "native"])
def test_sharpness_tells_sharp_photos_from_blurred_copies(side: int | None, least: float) -> None:
    """Gaussian blur of σ = 2 pixels of the picture as people look at it (long side 1024), and of its own pixels.

    One threshold for all pictures, not pair by pair. Pictures of less than 512 pixels would make it easier, as nothing
    of the blur is lost in scaling; they are left out.
    """
    photos = sharp_photos(100, long_side=512)
    sharp, blurred = [], []
    for data in photos.values():
        pixels = decode(data) if side is None else fit(decode(data), side)
        sharp.append(score(jpeg(pixels, 95))["sharpness"])
        blurred.append(score(jpeg(cv2.GaussianBlur(pixels, (0, 0), 2), 95))["sharpness"])
    found = auc(sharp, blurred)
    print(f"AUC {found:.3f} of {len(photos)} photos, blur at {side or 'native size'}")
    assert len(photos) >= 30 and found >= least


# --- exposure, colour


@pytest.mark.parametrize(
    ("value", "low", "high"), [(0, 1, 0), (2, 1, 0), (3, 0, 0), (128, 0, 0), (252, 0, 0), (253, 0, 1), (255, 0, 1)]
)
def test_a_plain_picture(value: int, low: int, high: int) -> None:
    given = exposure(np.full((40, 60), value, np.uint8))
    assert given["brightness"] == pytest.approx(value / 255)
    assert (given["contrast"], given["entropy"]) == (0, 0)
    assert (given["clip_low"], given["clip_high"]) == (low, high)


def test_half_black_half_white() -> None:
    gray = np.zeros((50, 50), np.uint8)
    gray[:, 25:] = 255
    assert exposure(gray) == pytest.approx(
        {"brightness": 0.5, "contrast": 0.5, "clip_low": 0.5, "clip_high": 0.5, "entropy": 1.0}
        | {"luma_p1": 0, "luma_p99": 255}
    )


def test_all_grays_equally_often_have_eight_bits() -> None:
    gray = np.repeat(np.arange(256, dtype=np.uint8), 4).reshape(32, 32)
    given = exposure(gray)
    assert given["entropy"] == pytest.approx(8)
    assert given["brightness"] == pytest.approx(0.5) and given["contrast"] == pytest.approx(gray.std() / 255)
    assert given["clip_low"] == given["clip_high"] == pytest.approx(3 / 256)


def test_brightness_follows_exposure(photo: np.ndarray) -> None:
    given = [score(jpeg(np.clip(photo * f, 0, 255).astype(np.uint8)))["brightness"] for f in (0.4, 0.7, 1, 1.4)]
    assert given == sorted(given) and len(set(given)) == 4


def test_colourfulness_is_that_of_the_paper() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (100, 128, 3), dtype=np.uint8)
    blue, green, red = (pixels[..., i].astype(float) for i in range(3))
    rg, yb = red - green, (red + green) / 2 - blue
    expected = np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())
    assert colourfulness(pixels) == pytest.approx(expected, rel=1e-5)


def test_colourfulness_of_gray_and_of_more_colour(photo: np.ndarray) -> None:
    gray = cv2.cvtColor(cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    half = cv2.addWeighted(photo, 0.5, gray, 0.5, 0)
    assert colourfulness(gray) == 0 < colourfulness(half) < colourfulness(photo)


def plain(*bgr: int) -> np.ndarray:
    return np.full((40, 60, 3), bgr, np.uint8)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (plain(0, 0, 255), 1),
        (plain(0, 0, 3), 1),
        (plain(90, 90, 90), 0),
        (plain(0, 0, 0), 0),
        (plain(100, 100, 200), 0.5),
        (np.concatenate([plain(0, 0, 200), plain(200, 200, 200)]), 0.5),
        (np.concatenate([plain(0, 1, 2), plain(198, 198, 198)]), 0.01),  # noise in the dark hardly counts
    ],
)
def test_saturation_is_weighted_by_what_is_seen(pixels: np.ndarray, expected: float) -> None:
    assert saturation(pixels) == pytest.approx(expected, abs=1e-9)


def test_saturation_outlives_exposure_and_falls_with_colour(photo: np.ndarray) -> None:
    gray = cv2.cvtColor(cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    whole, dark = saturation(photo), saturation((photo * 0.5).astype(np.uint8))
    assert dark == pytest.approx(whole, abs=0.02)
    assert saturation(gray) == 0 < saturation(cv2.addWeighted(photo, 0.5, gray, 0.5, 0)) < whole <= 1


def cast_by_definition(pixels: np.ndarray) -> tuple[float, float]:
    """Of B, G, R pixels, by CIE's formulas: D/M of the cast, and the share with a chroma up to 5."""
    linear = pixels[..., ::-1].reshape(-1, 3) / 255
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
    matrix = [[0.412453, 0.35758, 0.180423], [0.212671, 0.71516, 0.072169], [0.019334, 0.119193, 0.950227]]
    ratios = linear @ np.array(matrix).T / (0.950456, 1, 1.088754)
    f = np.where(ratios > 0.008856, np.cbrt(ratios), 7.787 * ratios + 16 / 116)
    ab = np.stack([500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])])
    mean = ab.mean(axis=1)
    spread = np.hypot(*np.abs(ab - mean[:, None]).mean(axis=1))
    return float(np.hypot(*mean) / max(spread, 2.3)), float((np.hypot(*ab) <= 5).mean())


def test_cast_and_share_of_gray_are_their_definitions(photo: np.ndarray) -> None:
    small = fit(photo, 128)
    cast, gray = cast_by_definition(small)
    assert cast_and_gray(small) == {
        "colour_cast": pytest.approx(cast, rel=0.02),
        "gray_share": pytest.approx(gray, abs=0.01),
    }


def test_a_tint_is_a_cast_and_a_black_and_white_photo_is_gray(photo: np.ndarray) -> None:
    gray = cv2.cvtColor(cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    sepia = np.clip(gray * (0.6, 0.85, 1.05), 0, 255).astype(np.uint8)
    scores = {name: score(jpeg(p, 60)) for name, p in {"photo": photo, "gray": gray, "sepia": sepia}.items()}
    assert scores["gray"]["gray_share"] > 0.99 and scores["gray"]["colour_cast"] < 0.5
    assert scores["sepia"]["gray_share"] < 0.5 and scores["sepia"]["colour_cast"] > 2
    assert scores["photo"]["gray_share"] < 0.95 and scores["photo"]["colour_cast"] < scores["sepia"]["colour_cast"]


@pytest.mark.parametrize(
    ("levels", "low", "high"),
    [([0] * 5 + [100] * 994 + [250], 100, 100), ([7] * 10 + [100] * 979 + [250] * 11, 7, 250), ([9], 9, 9)],
)
def test_percentiles_of_luma(levels: list[int], low: int, high: int) -> None:
    given = exposure(np.array([levels], np.uint8))
    assert (given["luma_p1"], given["luma_p99"]) == (low, high)


# --- compression


@pytest.mark.parametrize("quality", [5, 40, 75, 96])
def test_a_jpeg_tells_its_bits_and_its_quality(photo: np.ndarray, quality: int) -> None:
    data = jpeg(photo, quality)
    scores = score(data)
    assert scores["jpeg_quality"] == quality
    assert scores["bits_per_pixel"] == pytest.approx(8 * len(data) / (photo.shape[0] * photo.shape[1]))


@pytest.mark.parametrize("format", ["PNG", "WEBP", "BMP"])
def test_another_format_has_bits_and_no_jpeg_quality(format: str) -> None:
    data = bench.encoded(bench.picture(1, (64, 48)), format)
    scores = score(data)
    assert scores["jpeg_quality"] is None and scores["bits_per_pixel"] == pytest.approx(len(data) / 384)


# --- borders


def plain_bar(photo: np.ndarray, top: int, bottom: int, left: int, right: int, colour: int) -> np.ndarray:
    return cv2.copyMakeBorder(photo, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(colour,) * 3)


@pytest.mark.parametrize("colour", [0, 255])
@pytest.mark.parametrize(
    "bars", [(0.15, 0.15, 0, 0), (0, 0, 0.2, 0.2), (0.1, 0.1, 0.1, 0.1), (0.2, 0, 0, 0), (0, 0, 0, 0.1)]
)
def test_bars_are_found_with_their_share(photo: np.ndarray, bars: tuple[float, ...], colour: int) -> None:
    height, width = photo.shape[:2]
    top, bottom, left, right = (round(s * n) for s, n in zip(bars, (height, height, width, width), strict=True))
    framed = plain_bar(photo, top, bottom, left, right, colour)
    share = 1 - photo.shape[0] * photo.shape[1] / (framed.shape[0] * framed.shape[1])
    assert score(jpeg(framed))["border_share"] == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("level", [0, 5, 9, 60, 128, 200, 245, 246, 250, 255])
def test_bars_of_any_gray_are_found(level: int) -> None:
    gray = np.full((400, 400), level, np.uint8)
    gray[50:, 100:] = noise(350, 300)
    assert border_share(gray) == pytest.approx(1 - 350 * 300 / 400**2, abs=0.005)


def test_an_unframed_photo_has_no_border(photo: np.ndarray) -> None:
    assert score(jpeg(photo))["border_share"] == 0


def test_bundled_pictures_are_framed_where_their_labels_say_so(sample_photos: dict[str, bytes]) -> None:
    with open(sample_folder() / "labels.csv", newline="", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if (r["kind"], r["field"]) == ("photo", "has_border")]
    labels = {r["file"][:-4]: r["value"] == "true" for r in rows}
    found = {name: score(sample_photos[name])["border_share"] > 0 for name in labels.keys() & sample_photos.keys()}
    assert found == {name: labels[name] for name in found}
    assert sum(found.values()) >= 3


@pytest.mark.parametrize("ground", [0, 255, 90])
def test_an_object_on_a_plain_ground_is_not_framed(ground: int) -> None:
    picture = np.full((400, 600, 3), ground, np.uint8)
    cv2.circle(picture, (300, 200), 120, (30, 160, 200), -1)
    cv2.rectangle(picture, (250, 300), (340, 330), (200, 60, 30), -1)
    assert score(jpeg(picture))["border_share"] == 0


@pytest.mark.parametrize("quality", [50, 75])
@pytest.mark.parametrize("colour", [0, 128, 255])
def test_bars_are_found_under_strong_compression(photo: np.ndarray, colour: int, quality: int) -> None:
    """Ringing along the edge makes a bar's last lines uneven: the picture begins behind them."""
    height = photo.shape[0]
    bar = round(0.12 * height) + 3  # the edge within a block of 8 × 8
    framed = plain_bar(photo, bar, bar, 0, 0, colour)
    assert score(jpeg(framed, quality))["border_share"] == pytest.approx(2 * bar / framed.shape[0], abs=0.02)


def test_a_speck_in_a_bar_does_not_end_it() -> None:
    gray = np.full((400, 400), 0, np.uint8)
    gray[100:] = noise(300, 400)
    gray[30:40, 10:22] = 255
    assert border_share(gray) == pytest.approx(0.25, abs=0.005)


def on_ground(draw: str) -> np.ndarray:
    """Graphics with straight edges on plain ground, which are no pictures in a frame."""
    picture = np.full((400, 600, 3), 255, np.uint8)
    if draw == "rounded plate":  # its upper and lower edge are straight over more than half of the width
        cv2.rectangle(picture, (100, 100), (500, 300), (0, 0, 0), -1)
        for x, y in ((100, 100), (500, 100), (100, 300), (500, 300)):
            cv2.circle(picture, (x, y), 40, (255, 255, 255), -1)
    elif draw == "row of letters":
        for x in range(40, 560, 40):
            cv2.rectangle(picture, (x, 180), (x + 30, 220), (0, 0, 200), -1)
    elif draw == "device at the edge":  # as wide as most of the picture, flat on top
        cv2.fillPoly(picture, [np.array([(60, 20), (480, 20), (560, 380), (90, 380)])], (120, 90, 40))
    return picture


@pytest.mark.parametrize("draw", ["rounded plate", "row of letters", "device at the edge"])
def test_a_graphic_with_straight_edges_is_not_framed(draw: str) -> None:
    assert score(jpeg(on_ground(draw)))["border_share"] == 0


def test_a_picture_that_fades_into_white_is_not_framed(photo: np.ndarray) -> None:
    height, width = photo.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    weight = np.clip((1 - np.hypot(x, y)) / 0.4, 0, 1)[..., None]
    faded = photo * weight + 255 * (1 - weight)
    assert score(jpeg(faded.astype(np.uint8)))["border_share"] == 0


@pytest.mark.slow
@pytest.mark.skipif(not CORPUS.is_dir(), reason="../shared/corpus is not there")
def test_framed_pictures_of_the_corpus_are_found() -> None:
    framed = {name for name, value in read_labels(CORPUS / "labels.csv")["has_border"].items() if value == "1"}
    shares = {name: score(data)["border_share"] for name, data in files(CORPUS)}
    found = {name for name, share in shares.items() if share > 0.02}
    assert len(framed & found) >= 0.9 * len(framed)
    # Of these, eight are letterboxed all right, and only not labelled.
    assert len(found - framed) <= 0.02 * len(shares.keys() - framed), found - framed


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_plain_picture_has_no_border_no_seam_and_no_hash(value: int) -> None:
    scores = score(jpeg(np.full((300, 400, 3), value, np.uint8)))
    assert (scores["border_share"], scores["seam_score"], scores["phash"]) == (0, 0, None)


# --- seams


@pytest.mark.parametrize("axis", [0, 1])
def test_two_pasted_pictures_have_a_seam(sample_photos: dict[str, bytes], axis: int) -> None:
    found = []
    for a, b in zip(NAMES, NAMES[1:], strict=False):
        halves = [cv2.resize(decode(sample_photos[n]), (400, 400), interpolation=cv2.INTER_AREA) for n in (a, b)]
        found.append(score(jpeg(np.concatenate(halves, axis)))["seam_score"])
    whole = [score(sample_photos[n])["seam_score"] for n in NAMES]
    assert min(found) > max(whole), (found, whole)


def test_a_straight_step_from_edge_to_edge_is_a_whole_seam() -> None:
    gray = np.full((256, 256), 60, np.uint8)
    gray[:, 100:] = 180
    assert seam_score(gray) == seam_score(gray.T.copy()) == 1
    gray[:64, 100:] = 60  # the step ends a quarter below the edge
    assert seam_score(gray) == pytest.approx(0.75, abs=0.01)


# --- hash


def phash_by_definition(gray: np.ndarray) -> tuple[int, int]:
    """The hash, and how many of its bits hang on less than what rounding may do."""
    columns = cv2.resize(gray, (64, gray.shape[0]), interpolation=cv2.INTER_AREA)
    small = cv2.resize(columns, (64, 64), interpolation=cv2.INTER_AREA).astype(float)
    n = np.arange(64)
    basis = np.cos(np.pi * (2 * n[None, :] + 1) * n[:, None] / 128) * np.sqrt(2 / 64)
    basis[0] /= np.sqrt(2)
    spectrum = basis @ small @ basis.T
    size = np.abs(spectrum)
    size[0, 0] = 0
    mean = size[:8, :8].sum() / 63
    value, close = 0, 0
    for u in range(8):
        for v in range(8):
            lower = size[u - u % 2, v - v % 2]
            upper = size[u + u % 2, v + v % 2]
            over = spectrum[u, v] - (lower - upper) / 12 - mean / 16
            value = value << 1 | bool(over > 0)
            close += bool(abs(over) < 0.01)
    return value, close


def distance(a: int, b: int) -> int:
    return (a ^ b).bit_count()


def test_the_hash_is_its_definition(photo: np.ndarray) -> None:
    gray = gray_512(photo)
    expected, close = phash_by_definition(gray)
    assert distance(phash(gray), expected) <= close <= 1


def test_the_hash_outlives_another_encoding_and_size(photo: np.ndarray) -> None:
    whole = score(jpeg(photo, 95))["phash"]
    for quality, scale in ((95, 0.5), (50, 1), (60, 0.4), (85, 0.75)):
        height, width = (round(n * scale) for n in photo.shape[:2])
        copy = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
        assert distance(whole, score(jpeg(copy, quality))["phash"]) <= 4, (quality, scale)


def test_hashes_of_unrelated_photos_are_far_apart(sample_photos: dict[str, bytes]) -> None:
    hashes = [score(sample_photos[name])["phash"] for name in NAMES]
    assert min(distance(a, b) for i, a in enumerate(hashes) for b in hashes[:i]) > 12
    assert all(0 <= h < 2**64 for h in hashes)


@pytest.mark.parametrize(("deviation", "plain"), [(3, True), (6, False)])
def test_a_plain_picture_has_no_hash(deviation: int, plain: bool) -> None:
    """Half of it a little lighter than the other."""
    gray = np.full((100, 100), 128 - deviation, np.uint8)
    gray[:, 50:] = 128 + deviation
    assert (phash(gray) is None) == plain


def test_a_picture_of_nothing_but_fine_grain_has_no_hash() -> None:
    """Its low frequencies are what is left of the grain, and another in each copy."""
    gray = 128 + (noise(512, 512).astype(int) - 128) // 6
    assert gray.std() > 10
    assert phash(gray.astype(np.uint8)) is None


# --- odd shapes


@pytest.mark.parametrize(
    "size", [(1, 1), (2, 2), (1, 3000), (3000, 1), (3, 5000), (15, 15), (17, 600), (127, 129), (512, 1), (20, 1030)]
)
@pytest.mark.parametrize("kind", ["plain", "noise"])
def test_tiny_and_narrow_pictures_give_finite_values(size: tuple[int, int], kind: str) -> None:
    pixels = noise(*size) if kind == "noise" else np.full(size, 77, np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = score(buffer.getvalue())
    assert all(v is None or math.isfinite(v) for v in scores.values())
    assert all(scores[c] is not None for c in Photo.columns if c not in ("phash", "jpeg_quality"))
    assert 0 <= scores["border_share"] <= 1 and 0 <= scores["seam_score"] <= 1
    assert kind == "noise" or scores["phash"] is None
