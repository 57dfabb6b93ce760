"""Signal ocr: CPU of pictures without text and of a poster beside what no such signal can do without; what is read.

python -m tests.benchmarks.ocr [--repeat 9] [--corpus ../shared/corpus] [--curve]

One thread, median of the CPU milliseconds. Without text: photos of the sample in which a pass without a gate reads
nothing, scaled to 2 megapixels, with grain until their JPEG has about 450 kB. `plain RapidOCR` is a call of RapidOCR on
the decoded picture with `limit_type=max, limit_side_len=736`, no angle classifier and one thread. The gate's recall is
over all pictures of a folder in which a pass without a gate reads 3 characters or more with confidence 0.8; `--curve`
prints it for other sides and thresholds too (a quarter of an hour).
"""

import argparse
import statistics
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from curation.cli.first_recipe import sample_folder
from curation.images import ImageError, Picture
from curation.models.ocr import rapidocr
from curation.models.ocr.read_lines import on_ground
from curation.signals.base import Row
from curation.signals.ocr import SIDE, Ocr, RapidParams
from tests.benchmarks.corpora import SIZE, jpegs
from tests.benchmarks.report import HEAD, Figure, peak_mb, show
from tests.curation.signals.test_ocr import similarity, transcriptions
from tests.labelled import CORPUS, files

REACH_NONE, REACH_POSTER, REACH_SIMILARITY = 60.0, 350.0, 0.92
LETTERS, SURELY = 3, 0.8
COUNTED = RapidParams().min_confidence
LINES = (
    "SUMMER SALE",
    "up to 50% off everything",
    "6 June to 30 June",
    "Doors open at 9 am",
    "The Blue Lantern",
)
SIDES, THRESHOLDS = (288, 320, 352, 384, 416), (0.1, 0.2, 0.3)


def main() -> None:
    """Prints the figures, then the accuracy and the gate's recall."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    parser.add_argument("--curve", action="store_true", help="the gate's recall for other sides and thresholds")
    options = parser.parse_args()
    signal = Ocr(RapidParams())
    print(HEAD)
    without_text(signal, options.repeat)
    show([Figure("ocr: peak memory", peak_mb(), "MB")])
    plain = plain_rapidocr()
    poster(signal, plain, options.repeat)
    folders = [folder for folder in (options.corpus, sample_folder()) if folder.is_dir()]
    for folder in folders:
        accuracy(signal, plain, folder, REACH_SIMILARITY if folder == options.corpus else None)
    for folder in folders:
        recall(folder, list(product(SIDES, THRESHOLDS)) if options.curve else [])


def plain_rapidocr() -> Callable[[np.ndarray], str]:
    """RapidOCR's own call, as a function from pixels to the lines it reads."""
    import rapidocr

    engine = rapidocr.RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.use_cls": False,
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "Det.limit_type": "max",
            "Det.limit_side_len": SIDE,
        }
    )
    return lambda pixels: "\n".join(engine(pixels).txts or ())


def without_text(signal: Ocr, repeat: int) -> None:
    """Photos of 2 megapixels: median and mean over the photos, and over those that a glance suspects of text."""
    data = [photo for photo in jpegs(40) if not has_text(decoded(photo))]
    side, threshold = signal.params.gate_side, signal.params.gate_threshold
    pixels = [decoded(photo) for photo in data]
    spent = [
        in_turn(
            max(1, repeat // 3),
            lambda i=i: read(signal, data[i]),
            lambda i=i: decoded(data[i]),
            lambda i=i: rapidocr.coarse_text(pixels[i], side),
        )
        for i in range(len(data))
    ]
    suspected = [rapidocr.coarse_text(of_one, side).max() > threshold for of_one in pixels]
    floor = statistics.median(decode + glance for _, decode, glance in spent)
    whole = [ms for ms, *_ in spent]
    later = [ms for ms, more in zip(whole, suspected, strict=True) if more]
    show(
        [
            Figure(
                f"ocr: {len(data)} photos without text, median of CPU",
                statistics.median(whole),
                "ms",
                floor,
                REACH_NONE,
            ),
            Figure("ocr: the same, mean", statistics.mean(whole), "ms", floor),
            Figure(f"ocr: {len(later)} of them that a glance suspects, mean", statistics.mean(later), "ms", floor),
        ]
    )


def poster(signal: Ocr, plain: Callable[[np.ndarray], str], repeat: int) -> None:
    """A drawn poster of five lines, at 2 megapixels."""
    data = drawn_poster()
    pixels = Picture(data).bgr(SIDE)
    copy = rapidocr._copy(pixels, *rapidocr._cells(pixels, SIDE / max(pixels.shape)))
    whole, decoding, forward, beside = in_turn(
        repeat,
        lambda: read(signal, data),
        lambda: Picture(data).bgr(SIDE),
        lambda: rapidocr._run(rapidocr.engine()[0], copy),
        lambda: plain(pixels),
    )
    show(
        [
            Figure("ocr: poster of 5 lines, CPU", whole, "ms", decoding + forward, REACH_POSTER),
            Figure("ocr: the same by plain RapidOCR, with decode", decoding + beside, "ms", decoding + forward),
        ]
    )


def accuracy(signal: Ocr, plain: Callable[[np.ndarray], str], folder: Path, reach: float | None) -> None:
    """Mean edit similarity to the transcriptions, beside plain RapidOCR's, and the worst five."""
    found = transcriptions(folder)
    texts: dict[str, dict[str, str]] = {"ocr": {}, "plain RapidOCR": {}}
    figures = []
    for name, of in (("ocr", lambda data: read(signal, data)), ("plain RapidOCR", lambda data: plain(decoded(data)))):
        began = time.process_time()
        texts[name] = {key: of(data) for key, (_, data) in found.items()}
        spent = (time.process_time() - began) * 1000 / len(found)
        mean = statistics.mean(similarity(truth, texts[name][key]) for key, (truth, _) in found.items())
        what = f"{folder.name}: similarity of {len(found)} texts by {name}, {spent:.0f} ms each"
        figures.append(Figure(what, mean, "", None, reach if name == "ocr" else None, more_is_better=True))
    show(figures)
    worst = sorted((similarity(truth, texts["ocr"][key]), key, truth) for key, (truth, _) in found.items())[:5]
    for value, key, truth in worst:
        print(f"    {value:.2f} {key}: {truth[:60]!r}, read {texts['ocr'][key][:60]!r}")


def recall(folder: Path, configurations: list[tuple[int, float]]) -> None:
    """How many pictures with text the gate lets pass by, at its default and at other sides and thresholds."""
    default = (RapidParams().gate_side, RapidParams().gate_threshold)
    lost: dict[tuple[int, float], list[str]] = {c: [] for c in [*configurations, default]}
    spent: dict[tuple[int, float], list[float]] = {c: [] for c in lost}
    passed = dict.fromkeys(lost, 0)
    with_text = without = 0
    for name, data in files(folder):
        try:
            pixels = Picture(data).bgr(SIDE)
        except ImageError:
            continue
        lines = rapidocr.read(pixels, SIDE, 0, 0)
        text = [one.text for one in lines if one.confidence >= SURELY and len("".join(one.text.split())) >= LETTERS]
        nothing = not any(one.confidence >= COUNTED for one in lines)
        with_text += bool(text)
        without += nothing
        for side, threshold in lost if text or nothing else ():
            began = time.process_time()
            goes_on = suspects(pixels, side, threshold)
            if text and not goes_on:
                lost[side, threshold].append(f"{name}: {' / '.join(text)[:60]!r}")
            if nothing:
                spent[side, threshold].append((time.process_time() - began) * 1000)
                passed[side, threshold] += goes_on
    print(f"\n{folder.name}: the gate, {with_text} pictures with text, {without} without; small ones go on ungated")
    for side, threshold in lost:
        print(
            f"    side {side}, threshold {threshold}: {len(lost[side, threshold])} with text lost, "
            f"{passed[side, threshold]} without go on, {statistics.mean(spent[side, threshold]):.0f} ms"
        )
    print("\n".join(f"    lost by default: {one}" for one in lost[default]))


def has_text(pixels: np.ndarray) -> bool:
    """Whether a pass without a gate reads anything that counts."""
    return any(one.confidence >= COUNTED for one in rapidocr.read(pixels, SIDE, 0, 0))


def suspects(pixels: np.ndarray, side: int, threshold: float) -> bool:
    """The gate's decision alone."""
    _, canvas = on_ground(pixels, SIDE)
    rows, columns = rapidocr._cells(canvas, SIDE / max(canvas.shape))
    return rows * columns > 0 and rapidocr._glance(canvas, rapidocr._copy(canvas, rows, columns), side, threshold)[0]


def read(signal: Ocr, data: bytes) -> str:
    """The whole signal on one file."""
    return str(signal.score_one(Row(Picture(data), {"caption": None}, {}))["text"])


def decoded(data: bytes) -> np.ndarray:
    """Pixels for plain RapidOCR."""
    return Picture(data).bgr(SIDE)


def in_turn(repeat: int, *works: Callable[[], Any]) -> list[float]:
    """Median CPU milliseconds of each, one after the other in every round; the first round warms up."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(repeat + 1):
        for work, spent in zip(works, times, strict=True):
            began = time.process_time()
            work()
            spent.append((time.process_time() - began) * 1000)
    return [statistics.median(spent[1:]) for spent in times]


def drawn_poster() -> bytes:
    """Five lines on plain ground, as a JPEG."""
    image = Image.new("RGB", SIZE, (235, 228, 210))
    for number, text in enumerate(LINES):
        ImageDraw.Draw(image).text((140, 120 + 200 * number), text, (30, 40, 90), ImageFont.load_default(90))
    pixels = np.asarray(image)[:, :, ::-1]
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


if __name__ == "__main__":
    main()
