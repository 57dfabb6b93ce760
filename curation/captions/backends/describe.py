"""Captions images offline, by stating the measured facts in plain English, and nothing else.

Shape, main colours, brightness, number of faces and readable text are facts of the row; who or what is visible is not,
and is never stated. "Vertical" and "horizontal" are used for portrait and landscape, because "a portrait picture" and
"a landscape picture" would be read as their subject.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Literal, get_args

import cv2
import numpy as np
from pydantic import Field

from curation.captions.base import Captioner, Request
from curation.images import fit
from curation.keys import key_hash
from curation.models.plugin import PluginParams
from curation.models.text.generation import Answer
from curation.workspace.schemas import TEXT_IN_THE_WILD

Shape = Literal["landscape", "portrait", "square", "panorama"]
Tone = Literal["bright", "dark"]

SHAPES: dict[Shape, str] = {
    "landscape": "horizontal", "portrait": "vertical", "square": "square", "panorama": "wide",
}  # fmt: skip
TONES: tuple[Tone, ...] = get_args(Tone)
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
MANY = len(NUMBERS)
"""`Description.faces` of this value says "more than ten faces"."""
STYLES = 4
"""Number of wordings of the same description."""
MAX_COLOURS = 3

COLOURS: dict[str, str] = {
    "black": "000000 141414",
    "gray": "3c3c3c 555555 787878 9c9c9c c0c0c0 a0aca0",
    "white": "ffffff f2f2f2",
    "red": "ff0000 dc143c cc2222 e0402f b22222 d04a4a",
    "dark red": "8b0000 6b1515 7a2430 4a0c0c",
    "orange": "ff8000 ffa500 e06a10 f08a3c",
    "yellow": "ffff00 ffd700 e8c93a f5e663 d8b820",
    "green": "008000 2e8b57 00ff00 00c000 4c9a2a 6b8e23 7a9a5a 3cb371 5f7f4f",
    "dark green": "0b3d0b 1f4d2b 2f4a1f 3a4a2c",
    "light green": "90ee90 b5d99c 98d080 c5e8b7 a8e05f d0e4cc",
    "turquoise": "40e0d0 20b2aa 008080 5fb8b0 00ced1 00ffff 2f7f86",
    "light blue": "87ceeb add8e6 9cc3e6 7fb2e5 b8d4ee",
    "blue": "0000ff 1e62d0 4169e1 2f6fb5 1e90ff 4682b4 5577a8 0000c0 6b7d99",
    "dark blue": "000080 10244f 1c2f5a 0b1a40 26395c",
    "purple": "800080 6a2c91 8a4fb5 9370db 5b3a78 b07cc6 ff00ff 7a00ff 4b0082 b8b0dc 8d7a9e",
    "pink": "ffc0cb ff69b4 f4a6b8 e87aa0 f7c9d4 ff1493 d98ca0",
    "brown": "8b4513 6b3e1e 5a3a22 a0622d 7a5a40 3d2817 96704f 5c4c40",
    "beige": "f3ead2 e8d8b8 d2b48c c8b090 f0e0c8 dcc8a8 b8a07c e0b49a",
}
"""Names of colours with examples (RGB); a pixel is named after the example nearest to it in CIE Lab."""

SQUARE = 1.03
"""Largest ratio of the sides of an image that is called square."""
PANORAMA = 2.0
"""Smallest width over height of an image that is called wide."""
BRIGHT, DARK = 75.0, 25.0
"""Mean CIE lightness (0..100) from which an image is bright, and up to which it is dark; photographs usually lie
between 35 and 65."""
MIN_SHARE, MAIN_SHARE = 0.12, 0.5
"""A colour is named if it covers 12 % or more; no colour is named if those would cover less than half together."""
GRAY_SPREAD, GRAY_SHARE, GRAY_CONTRAST = 12, 0.99, 10.0
"""An image is black-and-white if the channels of 99 % of its pixels differ by up to 12 of 255 and the standard
deviation of its lightness is at least 10 of 100."""

_QUOTES = str.maketrans({"“": "‘", "„": "‘", "”": "’", "‟": "’", '"': "'", "＂": "'"})


@dataclass(frozen=True, slots=True)
class Description:
    """The content of a caption. Equal descriptions have the same content, whatever their style."""

    shape: Shape
    tone: Tone | None = None
    black_and_white: bool = False
    colours: tuple[str, ...] = ()
    """Up to three names from COLOURS, largest share first; none for a black-and-white image."""
    faces: int = 0
    """Number of faces, 1..10; MANY for more; with 0 the caption does not mention faces."""
    text: str = ""
    """Text in the image, in the form that `quotable` returns."""
    text_goes_on: bool = False
    """Whether `text` is only the beginning of the image's text."""
    style: int = field(default=0, compare=False)
    """Number of the wording, modulo STYLES."""

    def __post_init__(self) -> None:
        most = 0 if self.black_and_white else MAX_COLOURS
        if len(set(self.colours)) != len(self.colours) or len(self.colours) > most:
            raise ValueError(f"colours {self.colours} with black_and_white={self.black_and_white}")
        if not 0 <= self.faces <= MANY:
            raise ValueError(f"faces {self.faces}")
        if quotable(self.text) != self.text or (self.text_goes_on and not self.text):
            raise ValueError(f"text {self.text!r}, text_goes_on={self.text_goes_on}")

    def english(self) -> str:
        """Returns the description in its style's wording; `describe_zh.parse` parses every one of them."""
        tone = f"{self.tone} " if self.tone else ""
        picture = f"{SHAPES[self.shape]} {'black-and-white ' if self.black_and_white else ''}picture"
        colours = join(self.colours)
        faces = self._faces()
        style = self.style % STYLES
        if style == 1:
            within = f" in {colours}" if colours else ""
            sentences = [f"A {picture}{within}{f', {tone}overall' if tone else ''}"]
            if faces:
                sentences.append(f"{faces} {'is' if self.faces == 1 else 'are'} visible")
            if self.text:
                sentences.append(f'The text {"begins with" if self.text_goes_on else "reads"} "{self.text}"')
            return " ".join(f"{_capital(sentence)}." for sentence in sentences)
        label = "text beginning with" if self.text_goes_on else "the text"
        text = f'{label} "{self.text}"' if self.text else ""
        content = join([part for part in (faces, text) if part])
        if style == 2 and content:
            return _capital(f"{content} in a {tone}{picture}{f', mainly {colours}' if colours else ''}.")
        if style == 3 and colours:
            verb = "dominates" if len(self.colours) == 1 else "dominate"
            return _capital(f"{colours} {verb} a {tone}{picture}{f' with {content}' if content else ''}.")
        # A comma separates the colours from what follows, as in "in black, red and white, with one face".
        within = (f" in {colours}," if content else f" in {colours}") if colours else ""
        return f"A {tone}{picture}{within}{f' with {content}' if content else ''}."

    def _faces(self) -> str:
        if self.faces == 0:
            return ""
        if self.faces == 1:
            return "one face"
        return f"{NUMBERS[self.faces]} faces" if self.faces < MANY else f"more than {NUMBERS[-1]} faces"


def join(parts: Sequence[str]) -> str:
    """Joins parts as `a`, `a and b` or `a, b and c`."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


def quotable(text: str) -> str:
    """Returns the text in the form for double quotes: one line, double quotes made single, all printable."""
    return " ".join("".join(c if c.isprintable() else " " for c in text.translate(_QUOTES)).split())


def first_lines(text: str, limit: int) -> tuple[str, bool]:
    """Returns as many whole lines as fit into `limit` characters, joined by spaces, and whether more lines follow."""
    lines = [line for line in map(quotable, text.splitlines()) if line]
    taken = ""
    for number, line in enumerate(lines):
        longer = f"{taken} {line}" if taken else line
        if len(longer) > limit:
            return taken, number > 0
        taken = longer
    return taken, False


def shape_of(width: float, height: float) -> Shape:
    """Returns the shape by the ratio of the sides."""
    if max(width, height) <= SQUARE * min(width, height):
        return "square"
    if width < height:
        return "portrait"
    return "panorama" if width >= PANORAMA * height else "landscape"


def measure(pixels: np.ndarray) -> tuple[Tone | None, bool, tuple[str, ...]]:
    """Returns tone, whether it is black-and-white, and main colours' names of an image, uint8 (H, W, 3), BGR."""
    lightness = cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_BGR2Lab)[:, :, 0]
    mean = float(lightness.mean())
    tone: Tone | None = "bright" if mean >= BRIGHT else "dark" if mean <= DARK else None
    spread = pixels.max(axis=2) - pixels.min(axis=2)
    if (spread <= GRAY_SPREAD).mean() >= GRAY_SHARE and lightness.std() >= GRAY_CONTRAST:
        return tone, True, ()
    bins = (pixels >> 3).astype(np.intp)
    index = _nearest_colour()[bins[:, :, 0] << 10 | bins[:, :, 1] << 5 | bins[:, :, 2]]
    shares = np.bincount(index.ravel(), minlength=len(COLOURS)) / index.size
    order = [i for i in np.argsort(-shares, kind="stable")[:MAX_COLOURS] if shares[i] >= MIN_SHARE]
    names = list(COLOURS)
    return tone, False, tuple(names[i] for i in order) if shares[order].sum() >= MAIN_SHARE else ()


@cache
def _nearest_colour() -> np.ndarray:
    """Returns the index into COLOURS of each of the 32×32×32 BGR cells: uint8 (32768,), blue slowest."""
    levels = np.arange(32) * 8 + 4
    cells = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    examples = [(i, rgb) for i, rgbs in enumerate(COLOURS.values()) for rgb in rgbs.split()]
    known = np.array([list(bytes.fromhex(rgb)[::-1]) for _, rgb in examples]).reshape(-1, 1, 3)
    lab_cells, lab_known = (
        cv2.cvtColor(bgr.astype(np.float32) / 255, cv2.COLOR_BGR2Lab)[:, 0] for bgr in (cells, known)
    )
    distance = np.stack([((lab_cells - lab) ** 2).sum(axis=1) for lab in lab_known])
    return np.array([i for i, _ in examples], np.uint8)[distance.argmin(axis=0)]


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


class DescribeParams(PluginParams):
    """Parameters of the offline captioner."""

    min_ocr_confidence: float = Field(0.9, ge=0, le=1, description="text read less surely is not quoted")
    max_text: int = Field(80, ge=0, le=400, description="characters quoted at most, in whole lines")
    max_rich_text: int = Field(400, ge=0, le=4000, description="the same for images of the text-rich subset")


class Describe(Captioner):
    """Writes captions from the pixels at side 128 and, if they were scored, from the signals faces and ocr."""

    name = "describe"
    version = 2
    generative = False
    side = 128
    signals = ("faces", "ocr")
    Params = DescribeParams
    params: DescribeParams

    def caption(self, requests: Sequence[Request]) -> list[Answer]:
        """See Captioner. A caption is empty only if not even the size of the image is known."""
        descriptions = [self.describe(request) for request in requests]
        return [Answer(d.english() if d else "") for d in descriptions]

    def describe(self, request: Request) -> Description | None:
        """Returns the description of one image, with its style chosen by the key; None if its size is not known."""
        row, pixels = request.row, request.image
        width, height = row.get("width"), row.get("height")
        if pixels is not None and not (width and height):
            height, width = pixels.shape[:2]
        if not (width and height):
            return None
        seen = measure(fit(pixels, self.side)) if pixels is not None else (None, False, ())
        text, more = "", False
        rich = row.get("source") == TEXT_IN_THE_WILD  # the recipe's rule says that its text counts, and was read well
        if rich or (row.get("ocr_confidence") or 0) >= self.params.min_ocr_confidence:
            limit = self.params.max_rich_text if rich else self.params.max_text
            text, more = first_lines(row.get("text") or "", limit)
        return Description(
            shape_of(width, height),
            *seen,
            min(row.get("face_count") or 0, MANY),
            text,
            more,
            key_hash(request.key, "style") % STYLES,
        )
