"""Draws large words on photos as signs bear them: straight, slanted, bent upwards or downwards, outlined."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

WORDS = (
    "BAR", "PUB", "CAFE", "OPEN", "HOTEL", "PIZZA", "MARKET", "BAKERY", "Library", "Harvest", "DINER", "MUSEUM",
    "THEATRE", "Flowers", "PHARMACY", "Mountain", "SALE", "TAXI", "FRESH", "Carnival", "RESTAURANT", "TOBACCO",
)  # fmt: skip
HAN_WORDS = ("火锅店", "药房", "新华书店", "茶馆", "小吃店", "人民广场", "大酒店", "欢迎光临", "图书馆")
KINDS = ("straight", "slanted", "arched", "sagging", "slanted arch")
LETTERS = 300
"""Height in pixels at which letters are drawn, before they are bent, turned and scaled."""


def letters(word: str, font: Path | None, outline: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the coverage 0..255 of the letters, and of the letters with an outline of this width, of equal size."""
    face = ImageFont.truetype(str(font), LETTERS) if font else ImageFont.load_default(LETTERS)
    left, top, right, bottom = face.getbbox(word, stroke_width=outline)
    sheets = []
    for width in (0, outline):
        sheet = Image.new("L", (int(right - left) + 8, int(bottom - top) + 8))
        at = (4 - left + outline - width, 4 - top + outline - width)
        ImageDraw.Draw(sheet).text(at, word, 255, face, stroke_width=width, stroke_fill=255)
        sheets.append(np.array(sheet))
    return sheets[0], sheets[1]


def bent(ink: np.ndarray, degrees: float) -> np.ndarray:
    """Bends a word along an arc of so many degrees, upwards like a bridge; downwards if negative."""
    if degrees < 0:
        return bent(ink[::-1], -degrees)[::-1]
    height, width = ink.shape
    arc = math.radians(degrees)
    outer = width / arc + height / 2
    inner = max(1.0, outer - height)
    size = int(2 * outer * math.sin(arc / 2)) + 2, int(outer - inner * math.cos(arc / 2)) + 2
    y, x = np.mgrid[: size[1], : size[0]].astype(np.float32)
    angle = np.arctan2(x - size[0] / 2, outer - y)
    radius = np.hypot(x - size[0] / 2, outer - y)
    return cv2.remap(ink, (angle / arc + 0.5) * width, outer - radius, cv2.INTER_LINEAR, borderValue=0)


def turned(ink: np.ndarray, degrees: float) -> np.ndarray:
    """Turns a word to the left on a sheet that holds it."""
    height, width = ink.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    cos, sin = abs(turn[0, :2])
    size = int(height * sin + width * cos) + 2, int(height * cos + width * sin) + 2
    turn[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
    return cv2.warpAffine(ink, turn, size)


def signs(
    photos: Sequence[np.ndarray], count: int, seed: int, font: Path | None = None
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yields a word, its kind, and a photo that bears it; all follow from the seed.

    Args:
        photos: uint8 (H, W, 3), used in turn.
        count: number of pictures.
        seed: of the words, their sizes (a third to nine tenths of the width, if the height allows it), angles, colours
            and places.
        font: a font of Chinese characters for words of HAN_WORDS; None for Latin ones in Pillow's own font.
    """
    rng = np.random.default_rng(seed)
    for number in range(count):
        picture = photos[number % len(photos)].copy()
        word = str(rng.choice(HAN_WORDS if font else WORDS))
        kind = KINDS[number % len(KINDS)]
        outline = int(rng.integers(8, 16)) if rng.random() < 0.35 else 0
        bend = rng.uniform(50, 140) * (kind in ("arched", "slanted arch") or -(kind == "sagging"))
        slant = rng.uniform(10, 45) * rng.choice((-1, 1)) * kind.startswith("slanted")
        sheets = [turned(bent(ink, bend) if bend else ink, slant) for ink in letters(word, font, outline)]
        height, width = picture.shape[:2]
        scale = min(rng.uniform(0.34, 0.9) * width / sheets[0].shape[1], 0.95 * height / sheets[0].shape[0])
        size = [max(1, int(side * scale)) for side in sheets[0].shape[::-1]]
        inner, outer = (cv2.resize(ink, size, interpolation=cv2.INTER_AREA)[..., None] / 255 for ink in sheets)
        x, y = int(rng.integers(0, width - size[0] + 1)), int(rng.integers(0, height - size[1] + 1))
        ground = picture[y : y + size[1], x : x + size[0]].astype(np.float64)
        dark, light = rng.integers(0, 70, 3), rng.integers(185, 256, 3)
        fill, edge = (dark, light) if ground.mean() > 127 else (light, dark)
        painted = ground * (1 - outer) + edge * outer if outline else ground
        picture[y : y + size[1], x : x + size[0]] = (painted * (1 - inner) + fill * inner).round().astype(np.uint8)
        yield word, kind, picture
