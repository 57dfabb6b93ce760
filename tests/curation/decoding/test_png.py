"""A PNG's text and its profile, of any size, cost neither the picture nor time nor memory."""

import io
import time
import tracemalloc
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from curation.decoding.png import MAX_EXIF_TEXT, MAX_PROFILE, MAX_PROFILE_OF_PILLOW, unpacked_profile, without_text
from curation.images import ImageError, decode, probe
from curation.shards.strip_metadata import strip_metadata
from tests import profiles
from tests.curation.test_hostile_images import chunk
from tests.curation.test_images import pixels_of, quarters, save, turned

MEGABYTE = 1 << 20
PLAIN = save(quarters(), "PNG")
LONG = np.random.default_rng(0).integers(32, 127, 8 * MEGABYTE, dtype=np.uint8).tobytes()


def with_chunks(*chunks: bytes, data: bytes = PLAIN, last: bool = False) -> bytes:
    at = len(data) - 12 if last else 33
    return data[:at] + b"".join(chunks) + data[at:]


TEXTS: dict[str, Callable[[], list[bytes]]] = {
    "tEXt": lambda: [chunk(b"tEXt", b"workflow\0" + LONG)],
    "zTXt": lambda: [chunk(b"zTXt", b"workflow\0\0" + zlib.compress(LONG, 1))],
    "iTXt": lambda: [chunk(b"iTXt", b"workflow\0\0\0\0\0" + LONG)],
    "packed iTXt": lambda: [chunk(b"iTXt", b"workflow\0\1\0\0\0" + zlib.compress(LONG, 1))],
    "text that Pillow would unpack one by one": lambda: (
        [chunk(b"zTXt", b"prompt\0\0" + zlib.compress(LONG[: MEGABYTE - 1], 1))] * 70
    ),
    "a wrong checksum": lambda: [chunk(b"tEXt", b"workflow\0text")[:-4] + b"abcd"],
}


@pytest.mark.parametrize("last", [False, True], ids=["before the pixels", "behind them"])
@pytest.mark.parametrize("kind", TEXTS)
def test_a_png_with_much_text_is_the_same_picture(kind: str, last: bool) -> None:
    data = with_chunks(*TEXTS[kind](), last=last)
    assert probe(data) == probe(PLAIN)
    assert np.array_equal(decode(data), decode(PLAIN))
    assert strip_metadata(data, "png") == PLAIN
    assert without_text(data) == (PLAIN, None)


@pytest.mark.parametrize(
    "bomb",
    [
        lambda packed: chunk(b"zTXt", b"workflow\0\0" + packed),
        lambda packed: chunk(b"iTXt", b"workflow\0\1\0\0\0" + packed),
        lambda packed: chunk(b"zTXt", b"Raw profile type exif\0\0" + packed),
        lambda packed: chunk(b"iCCP", b"profile\0\0" + packed),
    ],
    ids=["zTXt", "iTXt", "EXIF as text", "profile"],
)
def test_a_bomb_is_not_unpacked(bomb: Callable[[bytes], bytes]) -> None:
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(MEGABYTE)) for _ in range(100)) + packer.flush()
    data = with_chunks(bomb(packed))
    tracemalloc.start()
    began = time.process_time()
    try:
        header, pixels = probe(data), decode(data)
        took, peak = time.process_time() - began, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert header == probe(PLAIN) and np.array_equal(pixels, decode(PLAIN))
    assert peak < 3 * MAX_PROFILE and took < 1
    assert strip_metadata(data, "png") == PLAIN  # nor does who reads the product meet the bomb


def test_a_text_of_which_a_part_is_missing_is_a_truncated_file() -> None:
    data = with_chunks(chunk(b"tEXt", b"workflow\0" + LONG))
    with pytest.raises(ImageError, match="^truncated"):
        decode(data[:MEGABYTE])


def raw_exif(block: bytes) -> bytes:
    """EXIF as ImageMagick writes it into a text: the name, the length, and hexadecimal digits."""
    return b"Raw profile type exif\0\nexif\n%8d\n%b\n" % (len(block), block.hex().encode())


@pytest.mark.parametrize("packed", [False, True])
def test_orientation_in_exif_that_is_written_as_text_is_read(packed: bool) -> None:
    text = raw_exif(b"Exif\0\0" + Image.open(io.BytesIO(turned("PNG", 6))).info["exif"].removeprefix(b"Exif\0\0"))
    keyword, content = text.split(b"\0", 1)
    exif = chunk(b"zTXt", keyword + b"\0\0" + zlib.compress(content)) if packed else chunk(b"tEXt", text)
    data = with_chunks(chunk(b"tEXt", b"workflow\0" + LONG), exif)
    assert probe(data).orientation == 6
    assert np.array_equal(pixels_of(data), pixels_of(turned("PNG", 6)))
    too_long = chunk(b"tEXt", text + b" " * MAX_EXIF_TEXT)
    assert probe(with_chunks(too_long)).orientation == 1


@pytest.mark.parametrize("size", [MAX_PROFILE_OF_PILLOW // 2, 2 * MAX_PROFILE_OF_PILLOW])
def test_a_profile_that_pillow_would_refuse_is_used(size: int) -> None:
    profile = profiles.rgb_profile(padding=size)
    data = with_chunks(chunk(b"iCCP", b"P3\0\0" + zlib.compress(profile)))
    assert probe(data).profile == profile
    assert np.array_equal(decode(data), decode(save(quarters(), "TIFF", icc_profile=profile)))
    assert not np.array_equal(decode(data), decode(PLAIN))


@pytest.mark.parametrize(
    "content", [b"", b"P3\0\0", b"P3\0\0no deflated data", b"P3\0\0" + zlib.compress(b"x" * 99)[:-6]]
)
def test_a_damaged_profile_is_none(content: bytes) -> None:
    assert unpacked_profile(content) is None
    data = with_chunks(chunk(b"iCCP", content))
    assert np.array_equal(decode(data), decode(PLAIN))
    assert strip_metadata(data, "png") == PLAIN
