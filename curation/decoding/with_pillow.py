"""Opens an image with Pillow, says what is wrong with one that it refuses, and turns one into RGB."""

import io
import warnings

import numpy as np
from PIL import Image, TiffImagePlugin

from curation.decoding import formats, icc
from curation.decoding.depth import is_deep, to_eight_bits
from curation.decoding.png import without_text
from curation.errors import ImageError, in_one_line

FORMATS = {
    "JPEG": "jpeg",
    "MPO": "jpeg",
    "PNG": "png",
    "WEBP": "webp",
    "GIF": "gif",
    "BMP": "bmp",
    "TIFF": "tiff",
    "AVIF": "avif",
    "HEIF": "heic",
    "JXL": "jxl",
}
"""Formats that are read: Pillow's name → the name used here. MPO is a JPEG file that holds further pictures; the last
two take packages of the extra `formats`."""

_OPENED_AS = [n for n in FORMATS if n not in ("MPO", *formats.OPENED_AS.values())]  # Pillow opens an MPO as a JPEG
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def open_image(data: bytes) -> Image.Image:
    """Opens an image with Pillow, which decodes no pixels but those of JPEG XL.

    Neither Pillow nor anyone else unpacks a PNG's text; its profile stands in `info["icc_profile"]` as that of other
    formats does.

    Raises:
        ImageError: reason `not_an_image`, `unsupported`, `heic`, `jxl`, `truncated` or `corrupt`.
    """
    format = formats.format_of(data)
    opened_as, profile = _OPENED_AS, None
    if format:
        formats.load_plugin(format)
        opened_as = [formats.OPENED_AS[format]]
    elif data.startswith(_PNG_SIGNATURE):
        data, profile = without_text(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # no warning for each file with damaged metadata
            image = Image.open(io.BytesIO(data), formats=opened_as)
            if profile:
                image.info["icc_profile"] = profile
            return image
    except Image.UnidentifiedImageError:
        if format:
            raise damage(data, ValueError("its header cannot be read")) from None
        if data.startswith(_TIFF_SIGNATURES):
            raise _refused_tiff(data) from None
        raise ImageError("not_an_image", f"the bytes start with {data[:8]!r}") from None
    except Exception as error:  # Pillow's parsers raise nearly anything on hostile input
        raise damage(data, error) from None


def damage(data: bytes, error: Exception) -> ImageError:
    """Returns what Pillow's error says of a file: reason `truncated` or `corrupt`."""
    format, text = formats.format_of(data), in_one_line(error)
    cut = "trunc" in text.lower() or (format is not None and formats.is_cut(data))
    if format == "jxl":  # its package only says "Generic Error"
        text = "the JPEG XL data ends early or is damaged"
    return ImageError("truncated" if cut else "corrupt", text)


def _refused_tiff(data: bytes) -> ImageError:
    """Says why Pillow does not know a TIFF; `Image.open` swallows what the parser has to say."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            TiffImagePlugin.TiffImageFile(io.BytesIO(data))
    except Exception as error:  # see open_image
        if "unknown pixel mode" in str(error):
            return ImageError("unsupported", "a TIFF whose samples are of a kind that is not read")
    return ImageError("not_an_image", f"the bytes start with {data[:8]!r}")


def to_rgb(image: Image.Image) -> tuple[Image.Image, bool]:
    """Returns a loaded image in sRGB on white, and whether its ICC profile has changed any colour."""
    profile = image.info.get("icc_profile") or None
    if is_deep(image):
        shown, converted = icc.to_srgb(to_eight_bits(image), profile)
        if isinstance(clear := image.info.get("transparency"), int):
            shown.paste("white", mask=Image.fromarray(np.asarray(image) == clear))
        return shown, converted
    if image.mode == "LAB":
        return icc.lab_to_srgb(image), True
    is_gray = image.mode in ("1", "L", "LA", "La")
    if not image.has_transparency_data:
        colours = image.convert("L") if is_gray else image if image.mode == "CMYK" else image.convert("RGB")
        return icc.to_srgb(colours, profile)
    image, converted = image.convert("RGBA"), False
    if profile is not None:
        shown, converted = icc.to_srgb(image.getchannel("R") if is_gray else image.convert("RGB"), profile)
        shown.putalpha(image.getchannel("A"))
        image = shown
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB"), converted
