"""Stage `caption` around a model that takes no time: reading, preparing, checking, keeping and writing.

The captioner prepares pictures as CogVLM wants them (490 pixels square) and says a caption of usual length at once;
so does the translator. What is left is what the stage costs beside a model.
"""

import tempfile
from pathlib import Path

import curation.captions
from curation.captions.stage import plan
from curation.images import decode
from curation.recipe import Recipe
from curation.select import Selection
from curation.tasks import Watch
from tests import bench
from tests.benchmarks.corpora import jpegs, write_webdataset
from tests.benchmarks.report import Figure, cpu_ms, show

IMAGES = 400
SIDE = 980
GPU_CAPTION_MS = 500.0
"""A caption at 2 images a second."""

INSTANT = """
import cv2

from curation.captions.base import Answer, Captioner, Translator

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
    side = 980

    def prepare(self, pixels):
        return cv2.resize(pixels, (490, 490), interpolation=cv2.INTER_CUBIC)

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
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "own").mkdir()
        (folder / "own" / "instant.py").write_text(INSTANT)
        curation.captions.__path__.append(str(folder / "own"))
        data = jpegs(IMAGES)
        write_webdataset(folder / "raw", data)
        made = bench.recipe(
            folder, captions={"captioner": {"backend": "instant"}, "translator": {"backend": "instant"}}
        )
        bench.index(made)
        bench.score(made)
        Selection(made).write()
        decoding = cpu_ms(lambda: [decode(d, SIDE) for d in data], IMAGES)
        first = cpu_ms(lambda: _caption(made), IMAGES)
        next((folder / "work" / "captions" / "c").glob("*.parquet")).unlink()
        again = cpu_ms(lambda: _caption(made), IMAGES)
        show(
            [
                Figure("caption, an instant model, 2 MP, CPU", first, "ms/row", decoding),
                Figure(
                    "the same, rows a second and core",
                    1000 / first,
                    "rows/s",
                    1000 / decoding,
                    200,
                    more_is_better=True,
                ),
                Figure("share of a GPU's caption at 2 images/s", 100 * first / GPU_CAPTION_MS, "%", reach=5),
                Figure("again from the answers kept, CPU", again, "ms/row"),
            ]
        )


def _caption(made: Recipe) -> None:
    for task in plan(made).tasks:
        rows = task.run(Watch()).rows
        assert rows == IMAGES, rows


if __name__ == "__main__":
    main()
