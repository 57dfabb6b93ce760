"""Stage `caption` around a model that takes no time: reading, preparing, checking, keeping and writing.

The captioner prepares pictures as CogVLM does and says a caption of usual length at once;
so does the translator. What is left is what the stage costs beside a model.
"""

import math
import tempfile
from pathlib import Path

import cv2

import curation.captions.backends
from curation.captions.backends.cogvlm import squashed
from curation.captions.crew import crew_of
from curation.captions.stage import plan
from curation.images import decode, probe
from curation.recipe import Recipe
from curation.selection.stage import Selection
from curation.tasks import Watch
from tests import bench
from tests.benchmarks.corpora import jpegs, write_webdataset
from tests.benchmarks.report import Figure, cpu_ms, show

IMAGES = 400
GPU_CAPTION_MS = 500.0
"""A caption at 2 images a second."""

INSTANT = """
import math

from curation.captions.base import Answer, Captioner, Translator
from curation.captions.backends.cogvlm import squashed

ENGLISH = (
    "A brown dog sits on a wooden bench in front of a red brick wall, looking to the left. Its collar is blue and has a "
    "small silver tag. To the right of the bench stands a black bicycle with a basket, in which two paper bags lie. A "
    "sign on the wall says \\"Bakery\\" in white letters, and below it 3 round loaves of bread are drawn. The ground is "
    "paved with gray stones, and fallen leaves lie between them. Picture {number}."
)
CHINESE = (
    "一只棕色的狗坐在红砖墙前的木制长椅上，朝左边看。它的项圈是蓝色的，上面有一个小小的银色牌子。长椅右边停着一辆带篮子的黑色自行车，"
    "篮子里放着两个纸袋。墙上的招牌用白色字母写着“Bakery”，下面画着3个圆形面包。地面铺着灰色石头，石头之间有落叶。图片{number}。"
)


class Instant(Captioner):
    name = "instant"
    version = 1
    side = 490

    def side_for(self, width, height):
        return math.ceil(490 * max(width, height) / min(width, height))

    def prepare(self, pixels):
        return squashed(pixels, 490)

    def caption(self, requests):
        return [Answer(ENGLISH.replace("{number}", r.key[-9:])) for r in requests]


class InstantZh(Translator):
    name = "instant"
    version = 1

    def translate(self, texts):
        return [Answer(CHINESE.replace("{number}", text[-10:-1])) for text in texts]
"""


def main() -> None:
    """Prints the figures."""
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "own").mkdir()
        (folder / "own" / "instant.py").write_text(INSTANT)
        curation.captions.backends.__path__.append(str(folder / "own"))
        large = jpegs(IMAGES)
        measure(folder / "2mp", "2 MP", large)
        measure(folder / "1mp", "1 MP", [smaller(data) for data in large], reach=200)


def smaller(data: bytes) -> bytes:
    """The picture at half its area, as a JPEG of quality 90."""
    pixels = decode(data)
    half = cv2.resize(pixels, None, fx=0.7071, fy=0.7071, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", half, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


def measure(folder: Path, size: str, data: list[bytes], reach: float | None = None) -> None:
    """Prints the figures for one size of pictures, beside their bare decoding and squaring."""
    write_webdataset(folder / "raw", data)
    instant = {"backend": "instant"}
    every = {"dedup": {"exact": False}}  # the smaller ones repeat
    made = bench.recipe(folder, captions={"captioner": instant, "translator": instant}, select=every)
    bench.index(made)
    bench.score(made)
    Selection(bench.opened(made)).write()
    crew_of(bench.opened(made), 1)  # imports what the models need
    bare(data[:20])
    floor = cpu_ms(lambda: bare(data), IMAGES)
    first = cpu_ms(lambda: _caption(made), IMAGES)
    next((folder / "work" / "captions" / "c").glob("*.parquet")).unlink()
    again = cpu_ms(lambda: _caption(made), IMAGES)
    rows = Figure(f"the same, rows a second and core, {size}", 1000 / first, "rows/s", 1000 / floor, reach, True)
    show(
        [
            Figure(f"caption, an instant model, {size}, CPU", first, "ms/row", floor),
            rows,
            Figure(f"beside decoding and squaring, {size}, CPU", first - floor, "ms/row"),
            Figure(f"share of a GPU's caption at 2 images/s, {size}", 100 * first / GPU_CAPTION_MS, "%", None, 5),
            Figure(f"again from the answers kept, {size}, CPU", again, "ms/row"),
        ]
    )


def bare(data: list[bytes]) -> None:
    """Decodes each picture as large as CogVLM wants it, and squares it."""
    for each in data:
        header = probe(each)
        side = math.ceil(490 * max(header.width, header.height) / min(header.width, header.height))
        squashed(decode(each, side, header), 490)


def _caption(made: Recipe) -> None:
    for task in plan(bench.opened(made)).tasks:
        rows = task.run(Watch()).rows
        assert rows == IMAGES, rows


if __name__ == "__main__":
    main()
