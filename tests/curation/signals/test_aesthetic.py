"""The offline aesthetic score: dull, flat, blurred and badly exposed pictures come out below good ones."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from curation.errors import UserError
from curation.images import Picture, decode
from curation.models.plugin import PluginParams
from curation.signals.aesthetic import PhotoStats, photo_stats
from curation.signals.base import Row, make_signal
from curation.signals.photo import Photo

NAMES = ["000000001", "000000006", "000000007", "000000012", "000010006", "000010007"]

WORSE = {
    "blurred": lambda p: cv2.GaussianBlur(p, (0, 0), 6),
    "dull": lambda p: np.clip(128 + 0.25 * (p.astype(float) - 128), 0, 255).astype(np.uint8),
    "gray": lambda p: cv2.cvtColor(cv2.cvtColor(p, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR),
    "dark": lambda p: (p * 0.15).astype(np.uint8),
    "burnt out": lambda p: np.clip(p.astype(float) * 4 + 60, 0, 255).astype(np.uint8),
    "framed": lambda p: cv2.copyMakeBorder(p, 200, 200, 200, 200, cv2.BORDER_CONSTANT, value=(0, 0, 0)),
}


def aesthetic(pixels: np.ndarray) -> float:
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, ::-1]).save(buffer, "JPEG", quality=92)
    photo = Photo(PluginParams()).score_one(Row(Picture(buffer.getvalue()), {}, {}))
    (scores,) = PhotoStats(PluginParams()).score([Row(None, {}, photo)])
    assert scores.keys() == PhotoStats.columns.keys()
    return scores["aesthetic"]


@pytest.mark.parametrize("worse", WORSE)
@pytest.mark.parametrize("name", NAMES)
def test_a_spoiled_photo_scores_less(sample_photos: dict[str, bytes], name: str, worse: str) -> None:
    if (name, worse) == ("000000012", "burnt out"):
        pytest.skip("a dark photograph: four times as bright, it is no worse by its statistics")
    photo = decode(sample_photos[name])
    assert aesthetic(WORSE[worse](photo)) < aesthetic(photo)


def test_scores_lie_between_0_and_10(sample_photos: dict[str, bytes]) -> None:
    scores = [aesthetic(decode(data)) for data in list(sample_photos.values())[::4]]
    assert all(0 <= s <= 10 for s in scores)
    assert max(scores) - min(scores) > 2


@pytest.mark.parametrize("value", [0, 255])
def test_an_empty_picture_is_near_the_bottom(value: int) -> None:
    assert 0 <= aesthetic(np.full((300, 400, 3), value, np.uint8)) < 1


def test_the_best_of_everything_is_ten() -> None:
    best = {"sharpness": 99, "colourfulness": 99, "contrast": 0.3, "entropy": 8, "brightness": 0.48,
            "border_share": 0, "clip_low": 0, "clip_high": 0}  # fmt: skip
    assert photo_stats(best) == pytest.approx(10)
    assert photo_stats(best | {"clip_low": 0.5, "clip_high": 0.5}) == pytest.approx(5)


def test_it_reads_no_pixels_and_needs_the_photo_signal() -> None:
    assert PhotoStats.side is None and PhotoStats.needs == ("photo",)


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(
        UserError, match=r'signals\.aesthetic\.backend: there is no "laion_v9"; did you mean "laion_v2"'
    ):
        make_signal("aesthetic", {"backend": "laion_v9"})
