"""Signal codes: codes pasted into photos are counted, and nothing else is taken for one."""

import time

import cv2
import numpy as np
import pytest
from PIL import Image

from curation.images import Picture, decode
from curation.models.plugin import PluginParams
from curation.signals.base import Row
from curation.signals.codes import Codes
from tests import bench
from tests.labelled import CORPUS, files

NAMES = ["000000001", "000000004", "000000006", "000000007"]


def count(data: bytes) -> int:
    return Codes(PluginParams()).score([Row(Picture(data), {}, {})])[0]["codes"]  # type: ignore[index]


def qr(text: str, size: int) -> np.ndarray:
    code = cv2.copyMakeBorder(cv2.QRCodeEncoder.create().encode(text), 4, 4, 4, 4, cv2.BORDER_CONSTANT, value=255)
    return cv2.resize(code, (size, size), interpolation=cv2.INTER_NEAREST)


def ean13(digits: str, width: int = 3, height: int = 90) -> np.ndarray:
    """A barcode EAN-13 with its check digit (ISO/IEC 15420)."""
    left = [
        "0001101",
        "0011001",
        "0010011",
        "0111101",
        "0100011",
        "0110001",
        "0101111",
        "0111011",
        "0110111",
        "0001011",
    ]
    parity = ["LLLLLL", "LLGLGG", "LLGGLG", "LLGGGL", "LGLLGG", "LGGLLG", "LGGGLL", "LGLGLG", "LGLGGL", "LGGLGL"][
        int(digits[0])
    ]
    right = [code.translate(str.maketrans("01", "10")) for code in left]
    total = sum(int(d) * (3 if i % 2 else 1) for i, d in enumerate(digits))
    whole = digits + str(-total % 10)
    halves = [left[int(d)] if p == "L" else right[int(d)][::-1] for d, p in zip(whole[1:7], parity, strict=True)]
    bars = "0" * 9 + "101" + "".join(halves) + "01010" + "".join(right[int(d)] for d in whole[7:]) + "101" + "0" * 9
    return np.tile(np.repeat([255 * (bar == "0") for bar in bars], width).astype(np.uint8), (height, 1))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("angle", [0, 12, 90])
def test_codes_in_a_photo_are_counted(name: str, angle: int, sample_photos: dict[str, bytes]) -> None:
    photo = cv2.resize(decode(sample_photos[name], 512), (900, 700))
    assert count(bench.encoded(Image.fromarray(photo))) == 0
    for at, code in enumerate((qr("https://example.com/a", 130), qr("another", 150), ean13("400638133393"))):
        turn = cv2.getRotationMatrix2D((code.shape[1] / 2, code.shape[0] / 2), angle if at else 0, 0.95)
        code = cv2.warpAffine(code, turn, code.shape[::-1], borderValue=255)
        photo[300 * (at // 2) + 40 :, 400 * (at % 2) + 30 :][: code.shape[0], : code.shape[1]] = code[..., None]
        expected = min(at + 1, 2 if angle == 90 else 3)  # upright, the barcode is wider than high, and cut off
        assert count(bench.encoded(Image.fromarray(photo), quality=75)) == expected


@pytest.mark.parametrize("module", [3, 6])
def test_a_wall_of_finder_patterns_takes_no_long_time(module: int) -> None:
    """OpenCV's detector of several QR codes takes minutes for it."""
    cell = np.full((9, 9), 255, np.uint8)
    cell[1:8, 1:8], cell[2:7, 2:7], cell[3:6, 3:6] = 0, 255, 0
    wall = np.tile(np.kron(cell, np.ones((module, module), np.uint8)), (84 // module, 84 // module))
    began = time.process_time()
    assert count(bench.encoded(Image.fromarray(wall), "PNG")) == 0
    assert time.process_time() - began < 2


@pytest.mark.slow
@pytest.mark.skipif(not CORPUS.is_dir(), reason="../shared/corpus is not there")
def test_nothing_in_the_corpus_is_taken_for_a_code() -> None:
    assert not [name for name, data in files(CORPUS) if count(data)]
