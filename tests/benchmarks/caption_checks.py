"""Checks of captions and translations, and the mixing: rows a second on one core, beside the plainest work on such texts.

python -m tests.benchmarks.caption_checks [--rows 5000] [--repeat 9]

Captions of 60 to 120 words with Chinese translations, no two alike; one in two quotes a text, one in two has numbers,
nothing is wrong with any. Best of the repeats, in CPU time. The floor is what no check can do without: the caption's
words, and the lengths of both texts without what regular expressions find in quotation marks.
"""

import argparse
import random
import re
import time
from collections.abc import Callable
from typing import NamedTuple

from curation.captions.checks.check import check_caption, check_translation
from curation.captions.checks.wording import trimmed
from curation.captions.training_text import training_text
from tests.benchmarks.report import Figure, show

REACH = 20_000

SIGNS = ("Grand Opening", "OPEN 24 H", "Private Beach, 1920", "Mind the step", "Café Müller", "欢迎光临", "Exit 12B")
THINGS = (
    ("a man in a red jacket", "一名身穿红色夹克的男子"), ("an old wooden boat", "一艘老旧的木船"),
    ("a white cat with a blue collar", "一只戴着蓝色项圈的白猫"), ("a bicycle with a wicker basket", "一辆带藤篮的自行车"),
    ("a table with plates and glasses", "一张摆着盘子和玻璃杯的桌子"), ("a tall tree without leaves", "一棵没有叶子的高树"),
    ("a stone bridge with three arches", "一座有三个拱的石桥"), ("a woman with a straw hat", "一位戴草帽的女士"),
    ("a lighthouse with red stripes", "一座带红色条纹的灯塔"), ("a dog with a ball", "一只带着球的狗"),
    ("a market stall with oranges", "一个卖橙子的摊位"), ("a child in yellow boots", "一个穿黄色靴子的孩子"),
)  # fmt: skip
PLACES = (
    ("In the foreground stands {}, lit from the left by the low sun.", "前景中是{}，低垂的阳光从左侧照来。"),
    ("Behind it, half in the shade of a wall, there is {}.", "它的后面，半掩在墙的阴影里，有{}。"),
    ("On the left one can make out {}, and some gravel beside it.", "左侧可以辨认出{}，旁边是一些碎石。"),
    ("To the right of that there is {}, painted in fresh colours.", "在它的右边有{}，颜色很新鲜。"),
    ("At the far end of the street, in light fog, waits {}.", "街道尽头的薄雾中有{}在等待。"),
    ("Near the lower edge, cut by the frame, lies the shadow of {}.", "靠近下边缘处，画面截断了{}的影子。"),
)  # fmt: skip


class Made(NamedTuple):
    """One row's texts."""

    key: str
    english: str
    chinese: str
    seen: str


def make(rows: int) -> list[Made]:
    """Rows with captions of 60 to 120 words, their translations, and what OCR has read."""
    rng, made = random.Random(0), []
    while len(made) < rows:
        number, sign = len(made), rng.choice(SIGNS)
        sentences = [
            (english.format(thing), chinese.format(ding))
            for (english, chinese), (thing, ding) in zip(
                rng.sample(PLACES * 2, rng.randint(5, 9)), rng.sample(THINGS, 9), strict=False
            )
        ]
        if number % 2:
            sentences.append((f'A sign on the wall reads "{sign}".', f"墙上的牌子写着“{sign}”。"))
        if number // 2 % 2:
            sentences.append((f"A plate bears the number {number} and 3 stars.", f"一块牌子上有数字{number}和三颗星。"))
        english, chinese = " ".join(e for e, _ in sentences), "".join(c for _, c in sentences)
        if 60 <= len(english.split()) <= 120:
            seen = f"SHOE SHOP\n{sign.upper().replace('E', 'F', 1)}\nsince 1887\nMonday to Friday 9 am to 6 pm"
            made.append(Made(f"web/00000/{number:09d}", english, chinese, seen))
    return made


QUOTED = re.compile(r'"[^"]*"|“[^”]*”')


def plainest(row: Made) -> object:
    """What the checks cannot do without."""
    texts = QUOTED.sub("", row.english), QUOTED.sub("", row.chinese)
    return len(row.english.split()), *map(len, texts)


def translation(row: Made) -> list[str]:
    """The check of a row's translation."""
    return check_translation(row.english, row.chinese)


def mixing(row: Made) -> object:
    """The choice of a row's training text."""
    return training_text(row.key, "原图说明 a tag", row.english, row.chinese, True, 0.5, 0.5)


def best(work: Callable[[Made], object], rows: list[Made], repeat: int) -> float:
    """Rows a second of CPU."""
    taken = []
    for _ in range(repeat):
        began = time.process_time()
        for row in rows:
            work(row)
        taken.append(time.process_time() - began)
    return len(rows) / min(taken)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--repeat", type=int, default=9)
    given = parser.parse_args()
    rows = make(given.rows)
    quoting = [row for row in rows if '"' in row.english]
    assert not any(check_caption(row.english, True, row.seen) or translation(row) for row in rows)
    floor = best(plainest, rows, given.repeat)
    words = sum(len(row.english.split()) for row in rows) / len(rows)

    def figure(what: str, work: Callable[[Made], object], of: list[Made], reach: float | None = None) -> Figure:
        return Figure(what, best(work, of, given.repeat), "rows/s", floor, reach, more_is_better=True)

    show(
        [
            figure(f"check_caption, {words:.0f} words", lambda row: check_caption(row.english), rows),
            figure("the same with quotes, beside the OCR text", lambda row: check_caption(row.english, True, row.seen), quoting),
            figure("trimmed", lambda row: trimmed(row.english), rows),
            figure("check_translation", translation, rows, REACH),
            figure("the same from Chinese", lambda row: check_translation(row.chinese, row.english, into="en"), rows, REACH),
            figure("training_text", mixing, rows, REACH),
            figure("check_translation and training_text", lambda row: (translation(row), mixing(row)), rows, REACH),
            figure("all three", lambda row: (check_caption(row.english), translation(row), mixing(row)), rows),
        ]
    )  # fmt: skip


if __name__ == "__main__":
    main()
