"""Reads one image from its bytes: the header, and pixels at a reduced size.

The format is recognized by the bytes, not by the file's name. An image that cannot be decoded completely raises an
`ImageError` with a reason; a picture that is half gray is never returned. JPEG goes through libjpeg-turbo's reduced
decode (the DCT is scaled, so decoding to a quarter of the size costs little more than the entropy decoding); every
other format goes through Pillow.
"""

import io
import re
import warnings
from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg
from PIL import Image, ImageFile

from curation.errors import RowError, in_one_line

MAX_PIXELS = 64_000_000
"""Declared width × height, in pixels, above which an image is not decoded."""
MAX_PIXELS_BASELINE_JPEG = 400_000_000
"""The limit for baseline JPEG in gray or YCbCr, which is decoded at a reduced size, a band of rows at a time."""

FORMATS = {
    "JPEG": "jpeg",
    "MPO": "jpeg",
    "PNG": "png",
    "WEBP": "webp",
    "GIF": "gif",
    "BMP": "bmp",
    "TIFF": "tiff",
    "AVIF": "avif",
}
"""Formats that are read: Pillow's name → the name used here. MPO is a JPEG file that holds further pictures."""

_OPENED_AS = [name for name in FORMATS if name != "MPO"]  # Pillow opens an MPO as a JPEG, then says what it is

ORIENTATION_TAG = 0x0112
REDUCTIONS = (8, 4, 2, 1)
_MARKER = re.compile(rb"\xff[\x01-\xfe]")
_SOS, _APP2 = 0xDA, 0xE2
"""JPEG markers (ITU T.81, table B.1): start of a scan, and the segment of an ICC profile."""

Image.MAX_IMAGE_PIXELS = None  # our own limit is checked on the header, with a reason on the row
ImageFile.LOAD_TRUNCATED_IMAGES = False
cv2.setNumThreads(1)  # one worker, one core: the workers are the parallelism


class ImageError(RowError):
    """An image that cannot be used."""


@dataclass(frozen=True, slots=True)
class Header:
    """The fields of an image's header. `width` and `height` are in pixels, after the EXIF orientation is applied."""

    format: str
    width: int
    height: int
    orientation: int
    """EXIF orientation, 1..8; 1 if the file has none or its EXIF is damaged."""
    reducible: bool
    """Whether the image is a JPEG that can be decoded directly at 1/2, 1/4 or 1/8 of its size."""


def probe(data: bytes) -> Header:
    """Reads the image's header and decodes no pixels.

    Raises:
        ImageError: reason `empty`, `not_an_image`, `truncated` (the header is cut off), `corrupt` or `too_large` (the
            declared size is over the limit).
    """
    if not data:
        raise ImageError("empty", "the file has no bytes")
    image = _open(data)
    format = FORMATS[image.format or ""]
    width, height = image.size
    pixels = width * height
    if pixels <= 0:
        raise ImageError("not_an_image", f"declared size {width}x{height}")
    baseline = format == "jpeg" and image.mode in ("RGB", "L") and not image.info.get("progressive")
    limit = MAX_PIXELS_BASELINE_JPEG if baseline else MAX_PIXELS
    if pixels > limit:
        raise ImageError("too_large", f"declared size {width}x{height} is over {limit // 1_000_000} megapixels")
    orientation = _orientation(image)
    if orientation >= 5:
        width, height = height, width
    return Header(format, width, height, orientation, format == "jpeg" and image.mode in ("RGB", "L"))


def reduction(width: int, height: int, side: int) -> int:
    """Returns the largest factor of 8, 4, 2, 1 that leaves the long side at least `side` pixels long.

    The factor is 1 for an image that is smaller than `side`.
    """
    long_side = max(width, height)
    return next((r for r in REDUCTIONS if -(-long_side // r) >= side), 1)


def decode(data: bytes, side: int | None = None, header: Header | None = None) -> np.ndarray:
    """Decodes the first frame, upright, with transparent pixels blended onto white.

    Args:
        data: the bytes of the image file.
        side: pixels; the image is decoded at the smallest of 1/8, 1/4, 1/2 and full size whose long side is at least
            this; None decodes at full size.
        header: the result of `probe`, if the caller already has it.

    Returns:
        uint8 array, shape (H, W, 3), channels B, G, R.

    Raises:
        ImageError: as in `probe`; also `truncated` or `corrupt` if the pixel data is incomplete or damaged.
    """
    header = header or probe(data)
    factor = 1 if side is None else reduction(header.width, header.height, side)
    if header.reducible:
        return _decode_jpeg(data, factor, header)
    pixels = _upright(_decode_pillow(data), header.orientation)
    if factor == 1:
        return pixels
    height, width = pixels.shape[:2]
    return cv2.resize(pixels, (-(-width // factor), -(-height // factor)), interpolation=cv2.INTER_AREA)


def fit(pixels: np.ndarray, side: int) -> np.ndarray:
    """Scales an image down, by area averaging, so that its long side is `side` pixels; a smaller one is returned as is.

    Args:
        pixels: uint8, (H, W, 3).
        side: length of the long side in pixels.

    Returns:
        uint8 (h, w, 3).
    """
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def middle(pixels: np.ndarray, longest: int) -> np.ndarray:
    """Crops an image whose long side is over `longest` times its short side to the middle part of that ratio.

    Any other image is returned unchanged. Models with a square input see no more of a long strip, and scaling a whole
    strip up to their input size would fill the memory.

    Args:
        pixels: (H, W, 3).
        longest: largest ratio of the long side to the short side.

    Returns:
        A view of `pixels`, (h, w, 3).
    """
    height, width = pixels.shape[:2]
    most = longest * min(height, width)
    top, left = max(0, height - most) // 2, max(0, width - most) // 2
    return pixels[top : top + most, left : left + most]


class Picture:
    """One image, decoded when a signal first asks for pixels; each decoded size is kept until the pass drops the image.

    Every signal gets the size that its own `side` asks for, whatever other signals run in the pass, so that a score is
    a function of the image alone.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._header: Header | None = None
        self._decoded: dict[int, np.ndarray] = {}

    @property
    def header(self) -> Header:
        """The image's header, read on first use. Raises ImageError as `probe`."""
        if self._header is None:
            self._header = probe(self.data)
        return self._header

    def bgr(self, side: int) -> np.ndarray:
        """Returns the pixels as `decode(data, side)` does: uint8 (H, W, 3), B, G, R. Callers must not modify the array.

        Raises:
            ImageError: as in `decode`.
        """
        factor = reduction(self.header.width, self.header.height, side)
        if factor not in self._decoded:
            self._decoded[factor] = decode(self.data, side, self.header)
        return self._decoded[factor]

    def forget(self) -> None:
        """Frees the bytes and the decoded pixels. Nothing can be decoded afterwards."""
        self.data = b""
        self._decoded.clear()


def _open(data: bytes) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # no warning for each file with damaged metadata
            return Image.open(io.BytesIO(data), formats=_OPENED_AS)
    except Image.UnidentifiedImageError:
        raise ImageError("not_an_image", f"the bytes start with {data[:8]!r}") from None
    except Exception as error:  # Pillow's parsers raise nearly anything on hostile input
        raise ImageError("truncated" if "trunc" in str(error).lower() else "corrupt", in_one_line(error)) from None


def _orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation; 1 if the EXIF is missing or damaged, since broken metadata does not spoil an image.

    Only EXIF that is in the header is read: for a PNG without it there, Pillow would decode the whole image.
    """
    if image.format == "TIFF" or not {"exif", "Raw profile type exif"} & image.info.keys():
        return 1  # Pillow turns a TIFF upright by itself
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # see _open
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _decode_jpeg(data: bytes, factor: int, header: Header) -> np.ndarray:
    """Decodes a JPEG strictly: areas that libjpeg would fill with gray are an error, junk between segments is none."""
    height, width = (header.width, header.height) if header.orientation >= 5 else (header.height, header.width)
    least = {"min_height": -(-height // factor), "min_width": -(-width // factor)}
    for part in (data, _without_junk(data)):  # a first warning, of junk, hides those of damage behind it
        try:
            return _upright(simplejpeg.decode_jpeg(part, colorspace="BGR", strict=True, **least), header.orientation)
        except ValueError as error:
            if not _is_junk(str(error)):
                raise ImageError("truncated" if "remature" in str(error) else "corrupt", in_one_line(error)) from None
    return _upright(_decode_jpeg_with_junk(data, factor), header.orientation)


def _without_junk(data: bytes) -> bytes:
    """Returns the JPEG without the bytes between its segments, and without its ICC profile, up to its first scan."""
    segments, at = [data[:2]], 2
    while marker := _MARKER.search(data, at):
        start, code = marker.start(), data[marker.end() - 1]
        if code == _SOS:
            return b"".join(segments) + data[start:]
        at = start + 2 + int.from_bytes(data[start + 2 : start + 4])
        if code != _APP2:
            segments.append(data[start:at])
    return data


def _is_junk(warning: str) -> bool:
    """Returns whether libjpeg's warning is harmless: extra bytes between segments, or a broken ICC profile.

    Extra bytes before the end-of-image marker (0xd9) are not harmless: they are left over from a damaged scan.
    """
    return "bad ICC" in warning or ("extraneous bytes" in warning and "0xd9" not in warning)


def _decode_jpeg_with_junk(data: bytes, factor: int) -> np.ndarray:
    """Decodes a JPEG with OpenCV, which goes on where the strict decoder stops at a warning. Refuses data cut short."""
    flags = {
        1: cv2.IMREAD_COLOR,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }[factor]
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None or data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):  # no end mark after the last scan
        raise ImageError("truncated", "the JPEG data ends early or is damaged")
    return pixels


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    if orientation == 1:
        return pixels
    if orientation >= 5:  # 5..8 are 1..4 (mirrored as below) of the transposed picture
        pixels = pixels.swapaxes(0, 1)
    flip_rows = orientation in (3, 4, 7, 8)
    flip_columns = orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(pixels[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1])


def _decode_pillow(data: bytes) -> np.ndarray:
    image = _open(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.load()
            image = _to_rgb(image)
            return np.ascontiguousarray(np.asarray(image)[:, :, ::-1])
    except Exception as error:  # see _open
        raise ImageError("truncated" if "trunc" in str(error).lower() else "corrupt", in_one_line(error)) from None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit gray: Pillow would clip to white
        gray = np.asarray(image)
        shown = np.clip(gray >> 8, 0, 255).astype(np.uint8)
        if isinstance(clear := image.info.get("transparency"), int):
            shown[gray == clear] = 255
        return Image.fromarray(shown).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")
