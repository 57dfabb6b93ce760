"""RapidOCR: the glance that saves a full pass and loses no text, lines read alone or in company, threads and GPUs."""

import difflib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import rapidocr
from PIL import Image, ImageDraw, ImageFont

from curation.models.ocr import rapidocr as backend
from curation.models.ocr.text_lines import TextLine
from tests.benchmarks.corpora import photos

SIDE, GATE, SUSPECTED = 736, 352, 0.2


def read(pixels: np.ndarray, gate_side: int = GATE) -> list[tuple[str, float, str, int]]:
    """What is read with a confidence that counts, in a form that can be compared."""
    lines = backend.read(pixels, SIDE, gate_side, SUSPECTED)
    return [(one.text, one.confidence, str(one.quad.tolist()), one.turn) for one in lines if one.confidence >= 0.5]


def written(pixels: np.ndarray, *texts: tuple[int, int, str], size: int = 40) -> np.ndarray:
    """The picture with these texts on it, white where it is dark and dark where it is light."""
    image = Image.fromarray(pixels)
    for x, y, text in texts:
        light = pixels[y : y + size, x : x + size * len(text) // 2].mean() > 127
        ImageDraw.Draw(image).text((x, y), text, (20, 30, 90) if light else "white", ImageFont.load_default(size))
    return np.array(image)


def line(text: str, size: int = 40) -> np.ndarray:
    """A picture of one line, cut out with a little ground."""
    left, top, right, bottom = ImageFont.load_default(size).getbbox(text)
    image = Image.new("RGB", (int(right - left) + size // 2, int(bottom - top) + size // 4), "white")
    at = (size // 4 - left, size // 8 - top)
    ImageDraw.Draw(image).text(at, text, (20, 30, 90), ImageFont.load_default(size))
    return np.array(image)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """A photo of 2 megapixels without text."""
    return next(pixels for pixels in photos() if not backend.read(pixels, SIDE, 0, SUSPECTED))


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Pixels of each pass of the detector, as they are made."""
    made: list[int] = []
    run = backend._run

    def counted(model: Any, pixels: np.ndarray) -> np.ndarray:
        made.append(pixels.shape[0] * pixels.shape[1])
        return run(model, pixels)

    monkeypatch.setattr(backend, "_run", counted)
    return made


@pytest.mark.parametrize("shape", [(1224, 1632), (1632, 1224), (1000, 1900)])
def test_a_plain_picture_costs_one_glance_of_any_shape(shape: tuple[int, int], passes: list[int]) -> None:
    assert read(np.full((*shape, 3), 90, np.uint8)) == []
    assert passes == [pytest.approx(min(GATE**2, (SIDE / max(shape)) ** 2 * shape[0] * shape[1]), rel=0.12)]


@pytest.mark.parametrize("shape", [(384, 448), (500, 500)])
def test_a_picture_of_few_pixels_is_not_glanced_at(shape: tuple[int, int], passes: list[int]) -> None:
    assert read(np.full((*shape, 3), 90, np.uint8)) == []
    assert passes == [round(shape[0] / 32) * round(shape[1] / 32) * 32**2]


def test_without_a_gate_there_is_one_full_pass(passes: list[int]) -> None:
    assert read(np.full((1224, 1632, 3), 90, np.uint8), gate_side=0) == []
    assert passes == [544 * 736]


def test_a_closer_look_at_a_place_settles_a_false_suspicion(passes: list[int]) -> None:
    """A photo in which a glance suspects something: it is looked at in places, not as a whole."""
    for pixels in photos():
        passes.clear()
        if not read(pixels) and len(passes) > 1:
            break
    else:
        pytest.fail("no photo of the sample is suspected for nothing")
    assert sum(passes[1:]) < 544 * 736
    assert read(pixels, gate_side=0) == []


@pytest.mark.parametrize("size", [30, 40, 60, 120])
@pytest.mark.parametrize("at", [(60, 60), (420, 1400), (40, 600)])
def test_the_gate_loses_no_text_on_a_photo(photo: np.ndarray, size: int, at: tuple[int, int]) -> None:
    """Letters of at least 10 pixels where text is looked for; what is read is what is read without a gate."""
    pixels = written(photo, (*at, "Blue Lantern"), size=size)
    found = read(pixels)
    assert any(difflib.SequenceMatcher(None, text, "Blue Lantern").ratio() > 0.8 for text, *_ in found)
    assert found == read(pixels, gate_side=0)


def test_what_a_glance_cannot_see_is_read_where_there_is_other_text() -> None:
    page = np.full((1224, 1632, 3), 235, np.uint8)
    small = written(page, (1200, 1150, "Photo by Anna Keller"), size=22)
    both = written(small, (100, 100, "SUMMER SALE"), size=90)
    assert "Photo by Anna Keller" in [text for text, *_ in read(both)]


def test_places_hold_all_that_is_suspected() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        seen = (rng.random((rng.integers(1, 15) * 32, rng.integers(1, 15) * 32)) > 0.9995).astype(np.float32)
        rows, columns = int(rng.integers(1, 24)), int(rng.integers(1, 24))
        places = backend._places(seen, 0.5, rows, columns)
        for y, x in np.argwhere(seen):
            row, column = (y + 0.5) * rows / seen.shape[0], (x + 0.5) * columns / seen.shape[1]
            assert any(left <= column <= left + w and top <= row <= top + h for left, top, w, h in places)
        assert all(x >= 0 and y >= 0 and x + w <= columns and y + h <= rows for x, y, w, h in places)
    assert backend._places(np.zeros((64, 64), np.float32), 0.0, 4, 4) == []


def test_the_likeliest_place_is_looked_at_first() -> None:
    seen = np.zeros((320, 320), np.float32)
    seen[10:20, 10:60], seen[200:210, 200:300] = 0.4, 0.9
    (x, y, w, h), other = backend._places(seen, 0.2, 10, 10)
    assert x <= 6 < 9 <= x + w and y <= 6 < y + h
    assert other[0] == other[1] == 0


TEXTS = ("FRESH", "Mountain railway", "Doors open at 9 am", "7", "up to 50% off everything today")


def test_a_line_reads_the_same_alone_and_in_company() -> None:
    lines = [line(text) for text in TEXTS]
    together = backend.recognise(lines)
    assert tuple(text for text, _ in together) == TEXTS
    assert [backend.recognise([one])[0] for one in lines] == together
    assert backend.recognise(lines[::-1]) == together[::-1]
    assert backend.recognise([]) == []


@pytest.mark.parametrize("size", [14, 40, 200, 600])
def test_a_line_of_any_height_is_read(size: int) -> None:
    (text, confidence), = backend.recognise([line("Harvest", size)])  # fmt: skip
    assert text == "Harvest"
    assert confidence > 0.9


def test_full_width_letters_become_narrow_and_punctuation_stays() -> None:
    assert "ＳPＲINＧ Ａ１，（ｚ）！".translate(backend.NARROW) == "SPRING A1，（z）！"


def test_rapidocr_has_the_parts_that_are_used() -> None:
    """They are none of what it publishes: a release without them must not be admitted by pyproject.toml."""
    missing = [f"RapidOCR.{n}" for n in ("_load_det_model", "_load_rec_model") if not hasattr(rapidocr.RapidOCR, n)]
    assert missing == []
    missing = [f"{type(part).__name__}.{n}" for part in backend.engine() for n in ("session", "postprocess_op")
               if not callable(getattr(part, n, None))]  # fmt: skip
    assert missing == []


def test_each_model_runs_on_one_thread() -> None:
    for model in backend.engine():
        options = model.session.session.get_session_options()
        assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert backend.engine() is backend.engine()


@pytest.mark.parametrize(
    ("providers", "cuda"),
    [
        (["CPUExecutionProvider"], False),
        (["AzureExecutionProvider", "CPUExecutionProvider"], False),
        (["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"], True),
        ([], False),
    ],
)
def test_a_gpu_is_used_where_onnxruntime_offers_it(providers: Sequence[str], cuda: bool) -> None:
    assert backend.use_cuda(providers) is cuda


def test_boxes_lie_within_the_picture_and_around_the_text() -> None:
    page = written(np.full((612, 816, 3), 255, np.uint8), (500, 400, "Lantern"), size=60)
    found, = backend.read(page, SIDE, GATE, SUSPECTED)  # fmt: skip
    assert isinstance(found, TextLine)
    ink = np.argwhere(page.min(axis=2) < 128)[:, ::-1]
    assert (found.quad.min(axis=0) <= ink.min(axis=0)).all() and (found.quad.max(axis=0) >= ink.max(axis=0)).all()
    assert (found.quad >= 0).all() and (found.quad <= (816, 612)).all()
