"""Signal ocr: CPU of a picture without text and of a poster beside decoding and one bare detection; what is read."""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from curation.backends import rapid
from curation.images import Picture
from curation.signals.base import Row
from curation.signals.ocr import SIDE, Ocr, OcrParams
from curation.start import sample_folder
from tests.benchmarks.corpora import SIZE, jpegs
from tests.benchmarks.report import Figure, peak_mb, show
from tests.curation.signals.test_ocr import CORPUS, similarity, transcriptions

LINES = (
    "SUMMER SALE",
    "up to 50% off everything",
    "6 June to 30 June",
    "Doors open at 9 am",
    "The Blue Lantern",
)


def main() -> None:
    """Prints the figures, then the accuracy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=9)
    repeat = parser.parse_args().repeat
    signal = Ocr(OcrParams())
    figures = []
    for what, data in (("no text", _photo()), ("poster, 5 lines", _poster())):
        pixels = Picture(data).bgr(SIDE)
        detector = rapid.engine(SIDE)._load_det_model()
        blob = detector.get_preprocess()(pixels)
        whole, decoding, forward = _in_turn(
            repeat,
            lambda data=data: signal.score_one(Row(Picture(data), {"caption": None}, {})),
            lambda data=data: Picture(data).bgr(SIDE),
            lambda detector=detector, blob=blob: detector.session(blob),
        )
        figures.append(Figure(f"{what}: decode and ocr, CPU", whole, "ms", decoding + forward))
        figures.append(Figure(f"{what}: decode alone", decoding, "ms"))
        figures.append(Figure(f"{what}: detector's forward pass alone", forward, "ms"))
    show([*figures, Figure("peak memory", peak_mb(), "MB")])
    for folder in (CORPUS, sample_folder()):
        if folder.is_dir():
            _accuracy(signal, folder)


def _in_turn(repeat: int, *works: Callable[[], object]) -> list[float]:
    """Median CPU milliseconds of each, one after the other in every round; the first round warms up."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(repeat + 1):
        for work, spent in zip(works, times, strict=True):
            began = time.process_time()
            work()
            spent.append((time.process_time() - began) * 1000)
    return [statistics.median(spent[1:]) for spent in times]


def _photo() -> bytes:
    """The first of the sample's photos in which the detector finds nothing, at 2 megapixels and 450 kB."""
    return next(data for data in jpegs(12) if rapid.engine(SIDE)(Picture(data).bgr(SIDE)).boxes is None)


def _poster() -> bytes:
    image = Image.new("RGB", SIZE, (235, 228, 210))
    for number, text in enumerate(LINES):
        ImageDraw.Draw(image).text((140, 120 + 200 * number), text, (30, 40, 90), ImageFont.load_default(90))
    return _jpeg(np.asarray(image)[:, :, ::-1])


def _jpeg(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


def _accuracy(signal: Ocr, folder: Path) -> None:
    read = []
    began = time.process_time()
    found = transcriptions(folder)
    for key, (truth, data) in found.items():
        text = signal.score_one(Row(Picture(data), {"caption": None}, {}))["text"]
        read.append((similarity(truth, text), key, truth, text))
    spent = (time.process_time() - began) * 1000 / max(1, len(found))
    mean = statistics.mean(value for value, *_ in read)
    print(f"\n{folder.name}: {len(read)} transcriptions, mean similarity {mean:.3f}, {spent:.0f} ms each; the worst:")
    for value, key, truth, text in sorted(read)[:5]:
        print(f"  {value:.2f} {key}\n       truth {truth[:90]!r}\n       read  {text[:90]!r}")


if __name__ == "__main__":
    main()
