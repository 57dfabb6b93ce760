"""Draw the posters of the sample corpus.

A poster whose exact wording is known is the only fair ground truth for a text reader, and no free
collection ships one together with its transcript. So the posters are drawn here: each function
paints one and returns the lines it wrote, top to bottom, which is what `labels.csv` records.

The Noto CJK fonts (Debian: `apt-get install fonts-noto-cjk fonts-noto-cjk-extra`) are looked up on
the system and never shipped.

    python -m tests.tools.render_posters ORIGINALS OUT
"""

import math
import random
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

FONTS = Path("/usr/share/fonts/opentype/noto")
SIMPLIFIED_CHINESE = 2  # the face's place inside each Noto CJK collection
SCALE = 2  # painted twice as large and shrunk, for smooth edges


@cache
def font(style: str, size: int) -> ImageFont.FreeTypeFont:
    """`style` is a file name's middle, such as `Sans:Bold` or `Serif:Black`."""
    family, weight = style.split(":")
    path = FONTS / f"Noto{family}CJK-{weight}.ttc"
    return ImageFont.truetype(str(path), size * SCALE, index=SIMPLIFIED_CHINESE)


class Sheet:
    """A canvas measured in final pixels which remembers every line written on it."""

    def __init__(self, width: int, height: int, colour: str | Image.Image) -> None:
        self.width, self.height = width, height
        size = (width * SCALE, height * SCALE)
        if isinstance(colour, str):
            self.image = Image.new("RGB", size, colour)
        else:
            self.image = ImageOps.fit(colour.convert("RGB"), size, Image.Resampling.LANCZOS)
        self.draw = ImageDraw.Draw(self.image)
        self.lines: list[str] = []

    def box(self, left: float, top: float, right: float, bottom: float, colour: str) -> None:
        self.draw.rectangle(tuple(v * SCALE for v in (left, top, right, bottom)), fill=colour)

    def round(
        self,
        left: float,
        top: float,
        right: float,
        bottom: float,
        radius: float,
        colour: str,
    ) -> None:
        corners = tuple(v * SCALE for v in (left, top, right, bottom))
        self.draw.rounded_rectangle(corners, radius * SCALE, fill=colour)

    def disc(self, x: float, y: float, radius: float, colour: str) -> None:
        self.draw.circle((x * SCALE, y * SCALE), radius * SCALE, fill=colour)

    def polygon(self, points: list[tuple[float, float]], colour: str) -> None:
        self.draw.polygon([(x * SCALE, y * SCALE) for x, y in points], fill=colour)

    def line(self, x0: float, y0: float, x1: float, y1: float, colour: str, width: int = 2) -> None:
        ends = (x0 * SCALE, y0 * SCALE, x1 * SCALE, y1 * SCALE)
        self.draw.line(ends, fill=colour, width=width * SCALE)

    def shade(self, top: float, bottom: float, colour: str, start: int, end: int) -> None:
        """Lay a band whose opacity runs from `start` to `end` (0-255), to carry text on photos."""
        height = int((bottom - top) * SCALE)
        ramp = Image.linear_gradient("L").resize((self.image.width, height))
        mask = ramp.point([round(start + (end - start) * v / 255) for v in range(256)])
        self.image.paste(Image.new("RGB", mask.size, colour), (0, int(top * SCALE)), mask)

    def paste(self, photo: Image.Image, left: int, top: int, width: int, height: int) -> None:
        size = (width * SCALE, height * SCALE)
        fitted = ImageOps.fit(photo.convert("RGB"), size, Image.Resampling.LANCZOS)
        self.image.paste(fitted, (left * SCALE, top * SCALE))

    def text(
        self,
        x: float,
        y: float,
        words: str,
        style: str,
        size: int,
        colour: str,
        anchor: str = "mm",
        spacing: float = 0,
    ) -> None:
        """Write one line; `spacing` is extra room between letters, in pixels."""
        self.lines.append(words)
        face = font(style, size)
        if not spacing:
            self.draw.text((x * SCALE, y * SCALE), words, fill=colour, font=face, anchor=anchor)
            return
        widths = [face.getlength(letter) + spacing * SCALE for letter in words]
        room = sum(widths) - spacing * SCALE
        left = x * SCALE - {"l": 0.0, "m": room / 2, "r": room}[anchor[0]]
        top = face.getbbox(words, anchor="ls")[1]  # of the whole line: 一 alone would float up
        height, hang = (y * SCALE - top, "ls") if anchor[1] == "t" else (y * SCALE, "lm")
        for letter, width in zip(words, widths, strict=True):
            self.draw.text((left, height), letter, fill=colour, font=face, anchor=hang)
            left += width

    def column(self, x: float, y: float, words: str, style: str, size: int, colour: str) -> None:
        """Write top to bottom, as on a scroll."""
        self.lines.append(words)
        for place, letter in enumerate(words):
            spot = (x * SCALE, (y + (place * 1.12 - 0.26) * size) * SCALE)
            self.draw.text(spot, letter, fill=colour, font=font(style, size), anchor="ma")

    def finished(self) -> Image.Image:
        return self.image.resize((self.width, self.height), Image.Resampling.LANCZOS)


def tea(originals: Path) -> Sheet:
    sheet = Sheet(832, 1184, Image.open(originals / "tea-gardens.jpg"))
    sheet.shade(0, 560, "#f4f7e6", 235, 0)
    sheet.shade(820, 1184, "#16300f", 0, 235)
    sheet.box(96, 90, 98, 520, "#2c5a21")
    sheet.column(690, 84, "春茶节", "Serif:Bold", 150, "#1f4717")
    sheet.text(128, 110, "SPRING", "Sans:Light", 56, "#2c5a21", "lt", 10)
    sheet.text(128, 184, "TEA FESTIVAL", "Sans:Light", 42, "#2c5a21", "lt", 7)
    sheet.text(128, 262, "一片叶子的旅程", "Serif:Medium", 34, "#2c5a21", "lt", 6)
    sheet.text(416, 1002, "四月十二日至十四日", "Serif:Bold", 46, "#fbfbe9", spacing=4)
    sheet.text(416, 1064, "云雾山茶园", "Serif:Medium", 34, "#e5edc4", spacing=6)
    sheet.text(416, 1120, "采茶 · 制茶 · 品茶", "Sans:Regular", 28, "#e5edc4")
    return sheet


def jazz(originals: Path) -> Sheet:
    sheet = Sheet(768, 1088, "#10193a")
    for radius, colour in (
        (330, "#1c2b63"),
        (262, "#c8452f"),
        (196, "#e88f2a"),
        (132, "#f5c94f"),
    ):
        sheet.disc(520, 420, radius, colour)
    sheet.disc(520, 420, 26, "#10193a")
    for place in range(5):
        sheet.line(0, 250 + place * 26, 768, 330 + place * 26, "#f7efdc", 3)
    for x, y in ((92, 334), (206, 296), (300, 372), (410, 330)):
        sheet.disc(x, y, 17, "#f7efdc")
        sheet.box(x + 13, y - 96, x + 17, y, "#f7efdc")
    sheet.text(56, 64, "JAZZ", "Sans:Black", 150, "#f7efdc", "lt")
    sheet.text(56, 782, "at Nine", "Serif:Black", 108, "#f5c94f", "lt")
    sheet.text(60, 922, "The Blue Lantern Trio", "Sans:Bold", 40, "#f7efdc", "lt")
    sheet.text(60, 986, "Friday 18 October", "Sans:Regular", 30, "#b9c3ea", "lt")
    sheet.text(712, 986, "Doors open 8 pm", "Sans:Regular", 30, "#b9c3ea", "rt")
    return sheet


def moon(originals: Path) -> Sheet:
    sheet = Sheet(832, 1184, "#0c1f42")
    sheet.shade(500, 1184, "#2d5b86", 0, 255)
    glow = Image.new("L", sheet.image.size, 0)
    ImageDraw.Draw(glow).circle((416 * SCALE, 400 * SCALE), 290 * SCALE, fill=170)
    glow = glow.filter(ImageFilter.GaussianBlur(60 * SCALE))
    sheet.image.paste(Image.new("RGB", glow.size, "#f6e3a3"), mask=glow)
    sheet.disc(416, 400, 250, "#fbefc4")
    for x, y, radius in (
        (330, 320, 40),
        (500, 300, 26),
        (520, 500, 52),
        (350, 520, 22),
    ):
        sheet.disc(x, y, radius, "#f4e2a8")
    dice = random.Random(8)
    for _ in range(70):
        sheet.disc(
            dice.uniform(0, 832),
            dice.uniform(0, 620),
            dice.choice((1, 1.5, 2)),
            "#dfe8f7",
        )
    for base, colour, seed in (
        (930, "#22466f", 2),
        (1010, "#17345a", 4),
        (1090, "#0d2243", 7),
    ):
        hills = [(x, base + 46 * math.sin(x / 120 + seed) + 24 * math.sin(x / 51 + seed * 3)) for x in range(0, 840, 8)]
        sheet.polygon([(0, 1184), *hills, (832, 1184)], colour)
    sheet.text(416, 74, "中秋节", "Serif:Bold", 58, "#f6e3a3", spacing=26)
    sheet.text(416, 330, "花好", "Serif:Black", 124, "#a5281f", spacing=8)
    sheet.text(416, 476, "月圆", "Serif:Black", 124, "#a5281f", spacing=8)
    sheet.text(416, 770, "但愿人长久 千里共婵娟", "Serif:Medium", 40, "#fbefc4", spacing=4)
    sheet.text(416, 1112, "农历八月十五 · 阖家团圆", "Sans:Regular", 30, "#e9eef8", spacing=3)
    return sheet


def sale(originals: Path) -> Sheet:
    sheet = Sheet(768, 1024, "#ffd43b")
    for turn in range(0, 360, 20):
        spread = [
            (
                384 + 1000 * math.cos(math.radians(a)),
                470 + 1000 * math.sin(math.radians(a)),
            )
            for a in (turn, turn + 10)
        ]
        sheet.polygon([(384, 470), *spread], "#ffc518")
    sheet.text(384, 118, "SUMMER SALE", "Sans:Black", 84, "#d6224a")
    sheet.round(64, 206, 704, 416, 28, "#d6224a")
    sheet.text(384, 306, "夏季大促", "Sans:Black", 138, "#ffffff")
    sheet.disc(384, 620, 176, "#ffffff")
    sheet.disc(384, 620, 162, "#0a6fb8")
    sheet.text(384, 562, "全场", "Sans:Bold", 48, "#ffffff")
    sheet.text(384, 646, "5折起", "Sans:Black", 98, "#ffd43b")
    sheet.text(384, 858, "UP TO 50% OFF", "Sans:Bold", 56, "#1d1d1f")
    sheet.box(0, 920, 768, 1024, "#d6224a")
    sheet.text(384, 970, "6月18日 — 6月30日", "Sans:Bold", 44, "#ffffff")
    return sheet


def lecture(originals: Path) -> Sheet:
    sheet = Sheet(768, 1088, "#f2eee4")
    sheet.paste(Image.open(originals / "rocket.jpg").crop((60, 20, 560, 400)), 0, 0, 768, 584)
    sheet.box(0, 584, 768, 596, "#e4572e")
    sheet.text(56, 640, "How Rockets", "Sans:Black", 88, "#16213a", "lt")
    sheet.text(56, 736, "Come Home", "Sans:Black", 88, "#16213a", "lt")
    sheet.text(
        58,
        858,
        "A public lecture on landing what we launch",
        "Sans:Regular",
        30,
        "#16213a",
        "lt",
    )
    sheet.line(58, 926, 710, 926, "#16213a", 2)
    sheet.text(58, 954, "7 March, 19:30", "Sans:Bold", 34, "#e4572e", "lt")
    sheet.text(58, 1008, "Free entry, no booking needed", "Sans:Regular", 26, "#16213a", "lt")
    sheet.text(710, 954, "Hall B", "Sans:Bold", 34, "#e4572e", "rt")
    return sheet


def reading(originals: Path) -> Sheet:
    sheet = Sheet(832, 1088, "#f6efe1")
    spines = (
        "#b23a2e",
        "#2e5e6e",
        "#d9a441",
        "#5d6b3a",
        "#8a4f7d",
        "#33415c",
        "#c96f3b",
    )
    left = 96.0
    for place, colour in enumerate(spines):
        width, top = 78 + 16 * (place % 3), 560 + 46 * ((place * 5) % 4)
        sheet.round(left, top, left + width, 900, 5, colour)
        sheet.box(left + 12, top + 34, left + width - 12, top + 38, "#f6efe1")
        sheet.box(left + 12, 846, left + width - 12, 850, "#f6efe1")
        left += width + 3
    sheet.box(60, 900, 772, 912, "#5b3c22")
    sheet.text(416, 108, "第十二届市民阅读周", "Sans:Medium", 32, "#6b5a44", spacing=6)
    sheet.text(416, 250, "一本书", "Serif:Black", 128, "#2b2320", spacing=12)
    sheet.text(416, 410, "一座城", "Serif:Black", 128, "#b23a2e", spacing=12)
    sheet.text(416, 968, "4月23日 至 4月29日", "Sans:Bold", 36, "#2b2320")
    sheet.text(416, 1026, "市图书馆一层大厅", "Sans:Regular", 30, "#6b5a44", spacing=4)
    return sheet


def marathon(originals: Path) -> Sheet:
    sheet = Sheet(832, 1184, "#0f7c8c")
    bands = ("#f25c3b", "#f7b538", "#f4f1e8", "#0a5966")
    for place, colour in enumerate(bands):
        low = 470 + place * 112
        sheet.polygon([(0, low + 250), (832, low - 120), (832, low - 8), (0, low + 362)], colour)
    sheet.text(60, 72, "城市马拉松", "Sans:Black", 136, "#ffffff", "lt")
    sheet.text(62, 236, "CITY MARATHON", "Sans:Bold", 76, "#f7d98b", "lt")
    sheet.text(62, 334, "跑过每一座桥", "Sans:Regular", 40, "#ffffff", "lt", 5)
    sheet.text(770, 1002, "42.195 km", "Sans:Black", 82, "#ffffff", "rm")
    sheet.text(770, 1084, "11月2日 7:30 人民广场起跑", "Sans:Medium", 34, "#f7d98b", "rm")
    return sheet


def menu(originals: Path) -> Sheet:
    sheet = Sheet(768, 1024, "#2a211c")
    sheet.paste(Image.open(originals / "coffee.png"), 0, 0, 768, 330)
    sheet.shade(150, 331, "#2a211c", 0, 255)
    sheet.text(384, 386, "Morning Menu", "Serif:Bold", 74, "#f3e3c8")
    sheet.line(300, 446, 468, 446, "#c98b4b", 3)
    dishes = (
        ("Espresso", "2.40"),
        ("Flat white", "3.20"),
        ("Oat latte", "3.60"),
        ("Butter croissant", "2.90"),
        ("Granola and yoghurt", "4.50"),
    )
    for place, (dish, price) in enumerate(dishes):
        y = 512 + place * 76
        sheet.text(92, y, dish, "Sans:Regular", 36, "#f3e3c8", "lm")
        sheet.text(676, y, price, "Sans:Bold", 36, "#c98b4b", "rm")
        sheet.line(92, y + 36, 676, y + 36, "#4a3b32", 1)
    sheet.text(384, 940, "Served every day until 11:30", "Serif:Regular", 30, "#bda98c")
    return sheet


def exhibition(originals: Path) -> Sheet:
    sheet = Sheet(832, 1120, "#ffffff")
    photos = (
        "campanula-alliariifolia-flower",
        "star-thristle-flower",
        "delphinium-flowers",
    )
    for place, name in enumerate(photos):
        photo = ImageEnhance.Contrast(Image.open(originals / f"{name}.webp").convert("L"))
        sheet.paste(photo.enhance(1.1), 40 + place * 256, 40, 240, 560)
    sheet.text(40, 650, "Form", "Serif:Black", 128, "#111111", "lt")
    sheet.text(40, 794, "and Flower", "Serif:Black", 128, "#111111", "lt")
    sheet.box(40, 962, 792, 965, "#111111")
    sheet.text(40, 990, "Plant photographs from the 1920s", "Sans:Regular", 30, "#111111", "lt")
    sheet.text(40, 1042, "1 May to 30 June", "Sans:Bold", 30, "#111111", "lt")
    sheet.text(792, 1042, "Gallery Two", "Sans:Bold", 30, "#b3261e", "rt")
    return sheet


def recycle(originals: Path) -> Sheet:
    sheet = Sheet(1088, 768, "#eaf5ea")
    sheet.box(0, 0, 1088, 232, "#1f7a4d")
    sheet.text(544, 92, "垃圾分类 从我做起", "Sans:Black", 92, "#ffffff")
    sheet.text(544, 184, "让绿色成为习惯", "Sans:Regular", 36, "#cdebd8", spacing=10)
    bins = (("可回收物", "#1769aa"), ("厨余垃圾", "#2e8b3d"), ("有害垃圾", "#c62828"))
    for place, (label, colour) in enumerate((*bins, ("其他垃圾", "#4a4f55"))):
        x = 80 + place * 240
        sheet.round(x - 8, 326, x + 216, 360, 10, colour)
        sheet.round(x + 74, 304, x + 134, 330, 8, colour)
        sheet.polygon([(x + 4, 372), (x + 204, 372), (x + 186, 640), (x + 22, 640)], colour)
        sheet.text(x + 104, 500, label, "Sans:Bold", 38, "#ffffff")
    sheet.text(544, 706, "社区环保志愿服务队", "Sans:Medium", 30, "#1f7a4d", spacing=4)
    return sheet


def film(originals: Path) -> Sheet:
    photo = Image.open(originals / "singaporean-cityscape.jpg")
    sheet = Sheet(768, 1152, ImageEnhance.Brightness(photo).enhance(0.8))
    sheet.shade(0, 420, "#0a0d1e", 225, 0)
    sheet.shade(640, 1152, "#0a0d1e", 0, 245)
    tagline = "Some lights never reach the shore"
    sheet.text(384, 92, tagline, "Serif:Regular", 32, "#e8e6f0", spacing=1)
    sheet.text(384, 888, "末班渡轮", "Serif:Black", 124, "#ffffff", spacing=14)
    sheet.text(384, 988, "THE LAST FERRY", "Sans:Light", 50, "#f2c14e", spacing=9)
    sheet.text(384, 1078, "国庆档全国上映", "Sans:Regular", 30, "#d9d7e6", spacing=6)
    return sheet


POSTERS: dict[str, Callable[[Path], Sheet]] = {
    draw.__name__: draw
    for draw in (
        tea,
        jazz,
        moon,
        sale,
        lecture,
        reading,
        marathon,
        menu,
        exhibition,
        recycle,
        film,
    )
}


def main(originals: Path, out: Path) -> None:
    """Write every poster as PNG and its wording as text beside it."""
    out.mkdir(parents=True, exist_ok=True)
    for name, draw in POSTERS.items():
        sheet = draw(originals)
        sheet.finished().save(out / f"{name}.png")
        (out / f"{name}.txt").write_text("\n".join(sheet.lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
