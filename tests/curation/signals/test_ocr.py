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

from curation.backends import rapid
from curation.errors import UserError
from curation.images import Picture
from curation.signals.base import Row, Scores
from curation.signals.ocr import Ocr, OcrParams, agreement

CORPUS = Path(__file__).resolve().parents[4] / "shared" / "corpus"
CJK_FONTS = sorted(Path("/usr/share/fonts").rglob("NotoSansCJK-Regular.ttc"))
NO_TEXT = {
    "ocr_confidence": None,
    "ocr_min_confidence": None,
    "text_area_share": 0.0,
    "text_lines": 0,
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
) -> bytes:
    face = ImageFont.truetype(str(font), size) if font else ImageFont.load_default(size)
    image = Image.new("RGB", canvas, "white")
    for x, y, text in texts:
        ImageDraw.Draw(image).text((x, y), text, fill=(20, 30, 90), font=face)
    return png(image)


def score(data: bytes, caption: str | None = None, **params: object) -> Scores:
    return Ocr(OcrParams.model_validate(params)).score_one(Row(Picture(data), {"caption": caption}, {}))


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


@pytest.mark.parametrize("turn", [90, 270])
def test_upright_lines_are_read_both_ways(turn: int) -> None:
    image = Image.open(io.BytesIO(drawn((60, 80, "Mountain railway"))))
    assert score(png(image.rotate(turn, expand=True)))["text"] == "Mountain railway"


@pytest.mark.parametrize("size", [24, 40, 60, 120])
def test_a_word_cut_out_tightly(size: int) -> None:
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
    monkeypatch.setattr(rapid, "recognise", lambda line: pytest.fail("recognised"))
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
    assert Ocr(OcrParams()).score(rows) == alone
    assert [score(data, "summer") for data in reversed(images)] == alone[::-1]


@pytest.mark.parametrize(
    ("text", "caption", "share"),
    [
        ("HAPPY\nBIRTHDAY", "Happy birthday, to you", 1.0),
        ("HAPPY\nBIRTHDAY", "a happy dog", 5 / 13),
        ("ＳＡＬＥ！", "sale", 1.0),
        ("art", "a birthday party", 0.0),
        ("Summer of2012", "Lee & Chris Summer of 2012", 1.0),
        ("café", "at the CAFE\u0301", 1.0),
        ("可图", "一张写着“可图”的图片", 1.0),
        ("多语言视觉文字", "视觉与语言", 4 / 7),
        ("韩国小馆 MENU", "Menu of 小馆", 6 / 8),
        ("茶", "茶园", 1.0),
        ("hello", None, None),
        ("hello", " ", None),
        ("", "hello", None),
        ("---", "hello", None),
    ],
)
def test_agreement(text: str, caption: str | None, share: float | None) -> None:
    assert agreement(text, caption) == (None if share is None else pytest.approx(share))


def test_models_are_named_by_content() -> None:
    digests = Ocr.models(OcrParams())
    assert set(digests) == {rapid.DETECTOR, rapid.RECOGNISER}
    assert all(len(d) == 64 for d in digests.values())


def test_a_missing_model_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / rapid.DETECTOR).touch()
    spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(rapid.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(UserError, match=rapid.RECOGNISER) as raised:
        Ocr.models(OcrParams())
    assert "\n" not in str(raised.value)
    monkeypatch.setattr(rapid.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="rapidocr is not installed"):
        Ocr.models(OcrParams())


@pytest.mark.parametrize("wrong", [{"max_side": 32}, {"max_side": 9999}, {"min_confidence": 1.5}, {"backend": "x"}])
def test_wrong_parameters_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        OcrParams.model_validate(wrong)


def test_is_quick_to_import_and_says_nothing() -> None:
    code = (
        "import sys, numpy as np, curation.signals.ocr as o\n"
        "assert not {'rapidocr', 'onnxruntime'} & set(sys.modules)\n"
        "pixels = np.full((64, 256, 3), 255, np.uint8)\n"
        "o.cv2.putText(pixels, 'FRESH', (20, 48), 0, 1.5, (0, 0, 0), 3)\n"
        "assert [line.text for line in o.rapid.read(pixels, 736)] == ['FRESH']\n"
        "assert o.rapid.read(pixels[:16], 736) == []\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_real_pictures_read_well() -> None:
    if not CORPUS.is_dir():
        pytest.skip("the test corpus ../shared/corpus is not there")
    found = transcriptions(CORPUS)
    assert len(found) == 27
    values = [similarity(truth, score(data)["text"]) for truth, data in found.values()]
    assert sum(values) / len(values) >= 0.91
