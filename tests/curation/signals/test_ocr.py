"""Signal ocr: text drawn here is read exactly, nothing is read where nothing is, and real pictures read well."""

import csv
import io
import subprocess
import sys
import tarfile
import unicodedata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from pydantic import ValidationError

from curation.errors import UserError
from curation.images import Picture
from curation.models.ocr import rapidocr
from curation.signals.base import Row, Scores
from curation.signals.ocr import Ocr, RapidParams
from tests.labelled import files

CORPUS = Path(__file__).resolve().parents[4] / "shared" / "corpus"
CJK_FONTS = sorted(Path("/usr/share/fonts").rglob("NotoSansCJK-Regular.ttc"))
NO_TEXT = {
    "ocr_confidence": None,
    "ocr_min_confidence": None,
    "text_area_share": 0.0,
    "text_lines": 0,
    "text_regions": 0,
    "min_char_px": None,
    "text": "",
    "text_boxes": [],
    "ocr_caption_agreement": None,
}


def normalised(text: str) -> str:
    """NFKC, lower case, white space (line feeds too) collapsed to single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).lower().split())


def similarity(truth: str, read: str) -> float:
    """1 - edit distance / length of the longer one, both normalised; 1 for two empty texts."""
    a, b = normalised(truth), normalised(read)
    above = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (x != y)))
        above = row
    return 1 - above[-1] / max(len(a), len(b), 1)


def transcriptions(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Key: full transcription and image bytes, of a corpus with labels.csv."""
    with open(folder / "labels.csv", encoding="utf-8", newline="") as file:
        truths = {r["key"].split("/")[-1]: r["value"] for r in csv.DictReader(file) if r["field"] == "text"}
    found = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, ending = Path(member.name).name.partition(".")
                if key in truths and ending not in ("txt", "json"):
                    found[key] = (truths[key], tar.extractfile(member).read())  # type: ignore[union-attr]
    return found


def png(pixels: Image.Image | np.ndarray) -> bytes:
    buffer = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(buffer, "PNG")
    return buffer.getvalue()


def drawn(
    *texts: tuple[int, int, str],
    size: int = 40,
    canvas: tuple[int, int] = (700, 400),
    font: Path | None = None,
    ink: str = "#141e5a",
    ground: str = "white",
) -> bytes:
    face = ImageFont.truetype(str(font), size) if font else ImageFont.load_default(size)
    image = Image.new("RGB", canvas, ground)
    for x, y, text in texts:
        ImageDraw.Draw(image).text((x, y), text, fill=ink, font=face)
    return png(image)


def turned(data: bytes, clockwise: int) -> bytes:
    return png(Image.open(io.BytesIO(data)).rotate(-clockwise, expand=True))


def score(data: bytes, caption: str | None = None, **params: object) -> Scores:
    return Ocr(RapidParams.model_validate(params)).score_one(Row(Picture(data), {"caption": caption}, {}))


def test_reads_what_is_drawn() -> None:
    scores = score(drawn((60, 80, "Summer Sale"), (60, 200, "50% off today")), "A poster: SUMMER sale!")
    assert scores["text"] == "Summer Sale\n50% off today"
    assert scores["text_lines"] == 2
    assert 0.9 < scores["ocr_min_confidence"] <= scores["ocr_confidence"] <= 1
    assert scores["ocr_caption_agreement"] == pytest.approx(10 / 20)
    assert all(len(box) == 9 and min(box) >= 0 and max(box) <= 1 for box in scores["text_boxes"])
    x0, y0, x1, _, _, y2, _, _, confidence = scores["text_boxes"][0]
    assert 0.04 < x0 < 0.09 < 0.35 < x1 < 0.55
    assert 0.15 < y0 < 0.25 < 0.27 < y2 < 0.36
    assert confidence > 0.9
    assert 0.03 < scores["text_area_share"] < 0.2


def test_smallest_characters_are_measured_on_the_original_picture() -> None:
    """The same page in twice as many pixels is read at half its size, and its characters are twice as high."""
    page = drawn((60, 60, "Summer Sale"), (60, 300, "terms apply"), size=36)
    small = score(page)["min_char_px"]
    width, height = (4 * n for n in Image.open(io.BytesIO(page)).size)
    large = score(png(Image.open(io.BytesIO(page)).resize((width, height))))["min_char_px"]
    assert 30 < small < 48 and large == pytest.approx(4 * small, rel=0.15)


def test_regions_are_paragraphs() -> None:
    lines = ((30, 30, "Summer Sale"), (30, 62, "begins today"), (400, 320, "Main Street"), (400, 350, "at nine"))
    scores = score(drawn(*lines, size=26))
    assert (scores["text_lines"], scores["text_regions"]) == (4, 2)


def test_reads_chinese() -> None:
    if not CJK_FONTS:
        pytest.skip("needs Debian's package fonts-noto-cjk")
    scores = score(drawn((60, 80, "城市马拉松"), (60, 200, "十一月二日"), size=60, font=CJK_FONTS[0]), "城市里的马拉松")
    assert scores["text"] == "城市马拉松\n十一月二日"
    assert scores["ocr_caption_agreement"] == pytest.approx(5 / 10)


def test_rows_from_the_top_and_each_from_the_left() -> None:
    words = (
        (400, 82, "Bravo"),
        (60, 290, "Echo"),
        (60, 80, "Alpha"),
        (400, 186, "Delta"),
        (60, 190, "Charlie"),
    )
    assert score(drawn(*words))["text"] == "Alpha\nBravo\nCharlie\nDelta\nEcho"


def test_a_slanted_row_stays_one_row() -> None:
    image = Image.open(
        io.BytesIO(drawn((40, 150, "North"), (440, 150, "South"), (40, 220, "East"), (440, 220, "West")))
    )
    turned = image.rotate(6, fillcolor="white", resample=Image.Resampling.BICUBIC)
    assert score(png(turned))["text"] == "North\nSouth\nEast\nWest"


PAGE = (
    (60, 60, "Summer Sale"),
    (60, 140, "up to 50% off today"),
    (60, 220, "Doors open at 9"),
    (60, 300, "96 Main St"),
)


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
@pytest.mark.parametrize(("ink", "ground"), [("#141e5a", "white"), ("white", "black"), ("#f0e010", "#802020")])
@pytest.mark.parametrize("size", [20, 40])
def test_a_page_held_any_way_is_read_in_order(turn: int, ink: str, ground: str, size: int) -> None:
    page = drawn(*PAGE, ink=ink, ground=ground, size=size)
    scores = score(turned(page, turn))
    assert scores["text"] == "\n".join(text for *_, text in PAGE)
    x0, y0, _, _, x2, y2 = scores["text_boxes"][0][:6]
    assert x0 < x2 and y0 < y2  # corners from the picture's top left, whichever way the line is read


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
@pytest.mark.parametrize("size", [24, 36, 60])
def test_chinese_columns_are_read_from_the_right(turn: int, size: int) -> None:
    if not CJK_FONTS:
        pytest.skip("needs Debian's package fonts-noto-cjk")
    columns = ("床前明月光", "疑是地上霜", "举头望明月", "低头思故乡")
    characters = [
        (580 - 2 * size * column, 60 + round(1.15 * size * row), character)
        for column, text in enumerate(columns)
        for row, character in enumerate(text)
    ]
    poem = drawn(*characters, size=size, canvas=(700, 600), font=CJK_FONTS[0])
    assert score(turned(poem, turn))["text"] == "\n".join(columns)


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_chinese_lines_are_read_any_way(turn: int) -> None:
    if not CJK_FONTS:
        pytest.skip("needs Debian's package fonts-noto-cjk")
    lines = ("城市马拉松", "十一月二日", "人民广场起跑")
    page = drawn(*((60, 60 + 90 * n, text) for n, text in enumerate(lines)), size=44, font=CJK_FONTS[0])
    assert score(turned(page, turn))["text"] == "\n".join(lines)


def test_one_line_upside_down_among_others() -> None:
    page = Image.open(io.BytesIO(drawn((60, 60, "Mountain railway"), (60, 300, "Timetable"))))
    other = Image.open(io.BytesIO(drawn((10, 10, "Price list"), canvas=(260, 70))))
    page.paste(other.rotate(180), (60, 170))
    assert score(png(page))["text"] == "Mountain railway\nPrice list\nTimetable"


@pytest.mark.parametrize("size", [24, 40, 60, 120, 400, 900])
def test_a_word_cut_out_tightly(size: int) -> None:
    """Small ones are looked at in full; of the large ones a glance must see the letters that touch the edges."""
    font = ImageFont.load_default(size)
    left, top, right, bottom = font.getbbox("FRESH")
    image = Image.new("RGB", (int(right - left), int(bottom - top)), (230, 220, 200))
    ImageDraw.Draw(image).text((-left, -top), "FRESH", fill=(20, 30, 90), font=font)
    scores = score(png(image))
    assert scores["text"] == "FRESH"
    assert max(v for box in scores["text_boxes"] for v in box) <= 1


def test_white_letters_on_nothing_are_letters() -> None:
    image = Image.new("RGBA", (700, 200), (255, 255, 255, 0))
    ImageDraw.Draw(image).text((60, 60), "Invisible ink", fill="white", font=ImageFont.load_default(60))
    assert score(png(image))["text"] == "Invisible ink"
    assert score(png(Image.new("RGBA", (700, 200), (255, 255, 255, 0)))) == NO_TEXT


@pytest.mark.parametrize("what", ["noise", "gradient", "plain"])
def test_nothing_is_read_where_nothing_is(what: str) -> None:
    pixels = {
        "noise": np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8),
        "gradient": np.tile(np.linspace(0, 255, 640).astype(np.uint8)[None, :, None], (480, 1, 3)),
        "plain": np.full((480, 640, 3), 90, np.uint8),
    }[what]
    assert score(png(pixels), "a caption") == NO_TEXT


@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (4000, 1), (15, 15), (15, 900), (16, 16), (16, 5000), (5000, 16)])
def test_tiny_pictures_have_no_text(shape: tuple[int, int]) -> None:
    assert score(png(np.full((*shape, 3), 200, np.uint8)))["text_lines"] == 0


def test_the_recogniser_runs_only_where_text_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rapidocr, "recognise", lambda lines: pytest.fail("recognised"))
    assert score(png(np.full((480, 640, 3), 90, np.uint8)))["text_lines"] == 0


def test_lines_under_the_confidence_asked_for_are_not_counted() -> None:
    data = drawn((60, 80, "Summer Sale"))
    sure = score(data)["ocr_min_confidence"]
    assert score(data, min_confidence=0.0)["text_lines"] == 1
    assert score(data, min_confidence=1.0) == NO_TEXT or sure == 1


def test_the_same_values_every_time_and_in_any_batch() -> None:
    images = [drawn((60, 80, "Summer Sale")), drawn((60, 80, "Mountain")), drawn((10, 300, "a b c"), size=20)]
    alone = [score(data, "summer") for data in images]
    rows = [Row(Picture(data), {"caption": "summer"}, {}) for data in images]
    assert Ocr(RapidParams()).score(rows) == alone
    assert [score(data, "summer") for data in reversed(images)] == alone[::-1]


def test_models_are_named_by_content() -> None:
    digests = Ocr(RapidParams()).digests()
    assert set(digests) == {rapidocr.DETECTOR, rapidocr.RECOGNISER}
    assert all(len(d) == 64 for d in digests.values())


def test_a_missing_model_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / rapidocr.DETECTOR).touch()
    spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(rapidocr.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(UserError, match=rapidocr.RECOGNISER) as raised:
        Ocr(RapidParams()).digests()
    assert "\n" not in str(raised.value)
    monkeypatch.setattr(rapidocr.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="rapidocr is not installed"):
        Ocr(RapidParams()).digests()


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_side": 32},
        {"max_side": 9999},
        {"min_confidence": 1.5},
        {"gate_side": -1},
        {"gate_threshold": 1},
        {"gate": 1},
    ],
)
def test_wrong_parameters_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RapidParams.model_validate(wrong)


def test_is_quick_to_import_and_says_nothing() -> None:
    code = (
        "import sys, numpy as np, curation.signals.ocr as o\n"
        "assert not {'rapidocr', 'onnxruntime'} & set(sys.modules)\n"
        "pixels = np.full((64, 256, 3), 255, np.uint8)\n"
        "o.cv2.putText(pixels, 'FRESH', (20, 48), 0, 1.5, (0, 0, 0), 3)\n"
        "assert [line.text for line in o.rapidocr.read(pixels, 736, 352, 0.2)] == ['FRESH']\n"
        "assert o.rapidocr.read(pixels[:16], 736, 352, 0.2) == []\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", ["000010088", "000020072", "000040028"])
def test_a_low_resolution_pass_loses_no_text_of_a_real_picture(name: str) -> None:
    """A word on a shirt, digits in a corner, a faint watermark beside busy food: letters of 12 to 20 pixels."""
    if not CORPUS.is_dir():
        pytest.skip("the test corpus ../shared/corpus is not there")
    data = next(data for key, data in files(CORPUS) if key == name)
    found = score(data)
    assert found["text_lines"] and found["text"] == score(data, gate_side=0)["text"]


@pytest.mark.slow
def test_real_pictures_read_well() -> None:
    if not CORPUS.is_dir():
        pytest.skip("the test corpus ../shared/corpus is not there")
    found = transcriptions(CORPUS)
    assert len(found) == 27
    values = [similarity(truth, score(data)["text"]) for truth, data in found.values()]
    assert sum(values) / len(values) >= 0.92
