"""Reads one image from its bytes: the header, and pixels at a reduced size.

The format is recognized by the bytes, not by the file's name. An image that cannot be decoded completely raises an
`ImageError` with a reason; a picture that is half gray is never returned. JPEG goes through libjpeg-turbo's reduced
decode (the DCT is scaled, so decoding to a quarter of the size costs little more than the entropy decoding); every
other format goes through Pillow. Pixels are in sRGB: a picture whose ICC profile says otherwise is converted.
"""

import warnings
from dataclasses import dataclass, field

import cv2
import numpy as np
from PIL import AvifImagePlugin, Image, ImageFile

from curation.decoding import formats, icc
from curation.decoding.jpeg import decode_jpeg
from curation.decoding.with_pillow import FORMATS, damage, open_image, to_rgb
from curation.errors import ImageError

DECODING_VERSION = 2
"""Version of the pixels, part of the fingerprint of every signal that reads some; it is raised when the same bytes give
other pixels. Since version 2 colours are converted to sRGB, and deep samples scaled by their range."""
MAX_PIXELS = 64_000_000
"""Declared width × height, in pixels, above which an image is not decoded."""
MAX_PIXELS_BASELINE_JPEG = 400_000_000
"""The limit for baseline JPEG in gray or YCbCr, which is decoded at a reduced size, a band of rows at a time."""

ORIENTATION_TAG = 0x0112
REDUCTIONS = (8, 4, 2, 1)

Image.MAX_IMAGE_PIXELS = None  # our own limit is checked on the header, with a reason on the row
ImageFile.LOAD_TRUNCATED_IMAGES = False
cv2.setNumThreads(1)  # one worker, one core: the workers are the parallelism
AvifImagePlugin.DEFAULT_MAX_THREADS = 1


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
    profile: bytes | None = field(default=None, repr=False)
    """The ICC profile; None if the file has none, or (JPEG XL) only tells it together with the pixels."""


def probe(data: bytes) -> Header:
    """Reads the image's header and decodes no pixels.

    Raises:
        ImageError: reason `empty`, `not_an_image`, `unsupported` (a TIFF of samples that are not read), `heic` or `jxl`
            (the package that reads it is not installed), `truncated` (the header is cut off), `corrupt` or `too_large`
            (the declared size is over the limit).
    """
    if not data:
        raise ImageError("empty", "the file has no bytes")
    if formats.format_of(data) == "jxl":
        formats.load_plugin("jxl")
        width, height, orientation = formats.jxl_header(data)
        _check_size(width, height, MAX_PIXELS)
        return _header("jxl", width, height, orientation)
    image = open_image(data)
    format = FORMATS[image.format or ""]
    reducible = format == "jpeg" and image.mode in ("RGB", "L")
    _check_size(*image.size, MAX_PIXELS if image.info.get("progressive") or not reducible else MAX_PIXELS_BASELINE_JPEG)
    return _header(format, *image.size, _orientation(image), reducible, image.info.get("icc_profile") or None)


def _check_size(width: int, height: int, limit: int) -> None:
    if width * height <= 0:
        raise ImageError("not_an_image", f"declared size {width}x{height}")
    if width * height > limit:
        raise ImageError("too_large", f"declared size {width}x{height} is over {limit // 1_000_000} megapixels")


def _header(
    format: str, width: int, height: int, orientation: int, reducible: bool = False, profile: bytes | None = None
) -> Header:
    if orientation >= 5:
        width, height = height, width
    return Header(format, width, height, orientation, reducible, profile)


def reduction(width: int, height: int, side: int) -> int:
    """Returns the largest factor of 8, 4, 2, 1 that leaves the long side at least `side` pixels long.

    The factor is 1 for an image that is smaller than `side`.
    """
    long_side = max(width, height)
    return next((r for r in REDUCTIONS if -(-long_side // r) >= side), 1)


def decode(data: bytes, side: int | None = None, header: Header | None = None) -> np.ndarray:
    """Decodes the first frame, upright, in sRGB, with transparent pixels blended onto white.

    Args:
        data: the bytes of the image file.
        side: pixels; the image is decoded at the smallest of 1/8, 1/4, 1/2 and full size whose long side is at least
            this; None decodes at full size.
        header: the result of `probe`, if the caller already has it.

    Returns:
        uint8 array, shape (H, W, 3), channels B, G, R.

    Raises:
        ImageError: as in `probe`; also `truncated` or `corrupt` if the pixel data is incomplete or damaged, and
            `no_range` if nothing says which of its samples are black and white.
    """
    header = header or probe(data)
    factor = 1 if side is None else reduction(header.width, header.height, side)
    if header.reducible:
        return _decode_jpeg(data, factor, header)[0]
    pixels, _ = _decode_pillow(data, header)
    if factor == 1:
        return pixels
    height, width = pixels.shape[:2]
    return cv2.resize(pixels, (-(-width // factor), -(-height // factor)), interpolation=cv2.INTER_AREA)


def decode_whole(data: bytes, header: Header | None = None) -> tuple[np.ndarray, bool]:
    """Decodes as `decode` does, at full size; returns also whether colours were converted by an ICC profile.

    They are not where the file has none, where it is that of sRGB, and where it is damaged or does not fit the pixels.
    """
    header = header or probe(data)
    return _decode_jpeg(data, 1, header) if header.reducible else _decode_pillow(data, header)


def fit(pixels: np.ndarray, side: int, interpolation: int = cv2.INTER_AREA) -> np.ndarray:
    """Scales an image down so that its long side is `side` pixels; a smaller one is returned as is.

    Args:
        pixels: uint8, (H, W, 3) or (H, W).
        side: length of the long side in pixels.
        interpolation: OpenCV's; by area averaging if it is left out.

    Returns:
        uint8 (h, w, 3) or (h, w).
    """
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(pixels, size, interpolation=interpolation)


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

        A side of 0 asks for no pixels: nothing is decoded, and the array is empty.

        Raises:
            ImageError: as in `decode`.
        """
        if not side:
            return np.empty((0, 0, 3), np.uint8)
        factor = reduction(self.header.width, self.header.height, side)
        if factor not in self._decoded:
            self._decoded[factor] = decode(self.data, side, self.header)
        return self._decoded[factor]

    def forget(self) -> None:
        """Frees the bytes and the decoded pixels. Nothing can be decoded afterwards."""
        self.data = b""
        self._decoded.clear()


def _orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation; 1 if the EXIF is missing or damaged, since broken metadata does not spoil an image.

    Only EXIF that is in the header is read: for a PNG without it there, Pillow would decode the whole image.
    """
    if image.format in ("TIFF", "HEIF") or not {"exif", "Raw profile type exif"} & image.info.keys():
        return 1  # Pillow turns these two upright by itself
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # as when it is opened
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _decode_jpeg(data: bytes, factor: int, header: Header) -> tuple[np.ndarray, bool]:
    height, width = (header.width, header.height) if header.orientation >= 5 else (header.height, header.width)
    pixels, converted = icc.bgr_to_srgb(decode_jpeg(data, factor, height, width), header.profile)
    return _upright(pixels, header.orientation), converted


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    if orientation == 1:
        return pixels
    if orientation >= 5:  # 5..8 are 1..4 (mirrored as below) of the transposed picture
        pixels = pixels.swapaxes(0, 1)
    flip_rows = orientation in (3, 4, 7, 8)
    flip_columns = orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(pixels[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1])


def _decode_pillow(data: bytes, header: Header) -> tuple[np.ndarray, bool]:
    """Returns the upright pixels as `decode` does, and whether their ICC profile has changed any colour."""
    image = open_image(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.load()
            turned = image.format == "JXL" and not getattr(image, "jpeg", False)  # libjxl does so, but for a JPEG
            shown, converted = to_rgb(image)
            pixels = np.ascontiguousarray(np.asarray(shown)[:, :, ::-1])
            return _upright(pixels, 1 if turned else header.orientation), converted
    except ImageError:
        raise
    except Exception as error:  # as when it is opened
        raise damage(data, error) from None
