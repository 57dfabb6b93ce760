"""Makes copies of a picture as the web does: encoded anew, scaled, and marked with translucent text."""

from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from curation.images import decode
from tests.bench import encoded

TEXT = "© photo.example"


def upright(data: bytes) -> Image.Image:
    """Decodes the picture of a file, upright."""
    return Image.fromarray(np.ascontiguousarray(decode(data)[:, :, ::-1]))


def jpeg(pixels: np.ndarray, quality: int) -> bytes:
    """Encodes B, G, R pixels, uint8 (H, W, 3), as a JPEG."""
    return encoded(Image.fromarray(np.ascontiguousarray(pixels[:, :, ::-1])), quality=quality)


def differing_bits(a: int | str | None, b: int | str | None) -> int:
    """Counts the bits in which two perceptual hashes differ.

    It is 64 if a hash is missing; hashes of bytes, which are texts, differ in 64 bits or none.
    """
    return (a ^ b).bit_count() if isinstance(a, int) and isinstance(b, int) else 64 * (a is None or a != b)


def encodings(image: Image.Image) -> Iterator[tuple[str, bytes]]:
    """Yields name and bytes of the picture as JPEG of quality 30 to 95, as WebP, and as PNG."""
    for quality in (30, 50, 75, 95):
        yield f"JPEG {quality}", encoded(image, quality=quality)
    for quality in (30, 80):
        yield f"WebP {quality}", encoded(image, "WEBP", quality=quality, method=2)
    yield "PNG", encoded(image, "PNG", compress_level=1)


def sizes(image: Image.Image) -> Iterator[tuple[str, bytes]]:
    """Yields name and bytes of the picture at 0.25 to 1.5 times its size, scaled in several ways.

    Sides are rounded to whole pixels, and once to multiples of eight.
    """
    ways = Image.Resampling
    for scale, way in (
        (0.25, ways.LANCZOS), (0.25, ways.BILINEAR), (0.33, ways.BICUBIC), (0.5, ways.BOX),
        (0.75, ways.BICUBIC), (1.25, ways.BILINEAR), (1.5, ways.LANCZOS),
    ):  # fmt: skip
        size = tuple(max(1, round(side * scale)) for side in image.size)
        yield f"x{scale} {way.name.lower()}", encoded(image.resize(size, way), quality=85)
    size = tuple(max(8, side // 16 * 8) for side in image.size)
    yield "x0.5 in eights", encoded(image.resize(size, ways.LANCZOS), quality=85)


def marked(image: Image.Image) -> Iterator[tuple[str, bytes]]:
    """Yields name and bytes of the picture with text in a corner or across the middle."""
    for where, opacity, level in (
        ("corner", 0.4, 255), ("corner", 0.4, 0), ("middle", 0.3, 255), ("middle", 0.3, 0),
    ):  # fmt: skip
        shade = "white" if level else "black"
        yield f"{shade} text, {where}", encoded(mark(image, where, opacity, level), quality=85)


def mark(image: Image.Image, where: str, opacity: float, level: int = 255, text: str = TEXT) -> Image.Image:
    """Draws text over a picture.

    Args:
        image: the picture.
        where: `corner` (bottom right, 0.3 of the width), `middle` (0.6 of it), or `tiled` (all over, aslant).
        opacity: opacity of the letters, 0 to 1.
        level: gray of the letters, 0 to 255.
        text: the letters.
    """
    share = {"corner": 0.3, "middle": 0.6, "tiled": 0.22}[where]
    width, height = image.size
    left, top, right, bottom = _font(100).getbbox(text)
    font = _font(min(100 * width * share / (right - left), height * 0.3))
    left, top, right, bottom = font.getbbox(text)
    w, h = right - left, bottom - top
    ink = (level, level, level, round(255 * opacity))
    clear = (level, level, level, 0)
    if where != "tiled":
        layer = Image.new("RGBA", image.size, clear)
        at = (0.98 * width - w, 0.98 * height - h) if where == "corner" else ((width - w) / 2, (height - h) / 2)
        ImageDraw.Draw(layer).text((at[0] - left, at[1] - top), text, font=font, fill=ink)
    else:
        side = round(1.5 * max(image.size))
        layer = Image.new("RGBA", (side, side), clear)
        for row, y in enumerate(range(0, side, max(1, round(3.5 * h)))):
            for x in range(-(row % 2) * round(0.75 * w), side, max(1, round(1.5 * w))):
                ImageDraw.Draw(layer).text((x, y), text, font=font, fill=ink)
        layer = layer.rotate(30, Image.Resampling.BILINEAR)
        x, y = (side - width) // 2, (side - height) // 2
        layer = layer.crop((x, y, x + width, y + height))
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


def _font(size: float) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size=max(4.0, size))
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font
