"""Near-duplicates on real pictures: copies as the web makes them are joined, unrelated pictures are not."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curation.cli.first_recipe import sample_folder
from curation.images import Picture
from curation.models.plugin import PluginParams
from curation.selection.dedup import search
from curation.signals.base import Row
from curation.signals.photo import Photo
from tests import copies
from tests.labelled import CORPUS, files, group_leaders, kinds, read_labels, sharp_photos

NEAR = 6


def phash(data: bytes) -> int | None:
    return Photo(PluginParams()).score([Row(Picture(data), {}, {})])[0]["phash"]  # type: ignore[index,no-any-return]


def far(original: int, hashes: dict[str, int | None]) -> dict[str, int | None]:
    """The copies that `near: 6` does not join to the original, and how far off they are."""
    values = np.array([original, *(h or 0 for h in hashes.values())], np.uint64)
    valid = np.array([True, *(h is not None for h in hashes.values())])
    keeper = search.near(values, valid, NEAR)
    return {
        name: None if value is None else (original ^ value).bit_count()
        for (name, value), kept in zip(hashes.items(), keeper[1:].tolist(), strict=True)
        if kept != 0 and value != original
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", [copies.encodings, copies.sizes, copies.marked])
def test_every_copy_of_a_photo_is_joined_to_it(kind) -> None:
    photos = sharp_photos(60, short_side=128)
    assert len(photos) >= 30
    missed = {}
    for name, data in photos.items():
        original = phash(data)
        assert original is not None, name
        if found := far(original, {what: phash(copy) for what, copy in kind(copies.upright(data))}):
            missed[name] = found
    assert not missed


@pytest.mark.slow
@pytest.mark.parametrize("folder", [sample_folder(), CORPUS], ids=["sample", "corpus"])
def test_no_unrelated_pictures_are_joined(folder: Path, sample_photos: dict[str, bytes]) -> None:
    if not folder.is_dir():
        pytest.skip("../shared/corpus is not there")
    group = group_leaders(read_labels(folder / "labels.csv"))
    readable = sample_photos if folder != CORPUS else kinds(folder)
    hashes = {name: phash(data) for name, data in files(folder) if name in readable}
    assert len(hashes) > 40
    joined = {
        (a, b): (hashes[a] ^ hashes[b]).bit_count()
        for a, b in combinations([name for name, value in hashes.items() if value is not None], 2)
        if (hashes[a] ^ hashes[b]).bit_count() <= NEAR and (a not in group or group[a] != group.get(b))
    }
    assert not joined


def drawing(*boxes: tuple[int, int, int, int], shape: str = "rectangle") -> Image.Image:
    """Black shapes on white, each drawn at all four places that two mirrors make of it."""
    from PIL import ImageDraw

    image = Image.new("RGB", (400, 400), "white")
    draw = getattr(ImageDraw.Draw(image), shape)
    for x0, y0, x1, y1 in boxes:
        for a, c in ((x0, x1), (400 - x1, 400 - x0)):
            for b, d in ((y0, y1), (400 - y1, 400 - y0)):
                draw((a, b, c, d), fill="black")
    return image


def test_symmetrical_drawings_are_told_apart_and_their_copies_joined() -> None:
    """Three quarters of their frequencies are zero but for rounding: neither noise nor a lack of bits may decide."""
    drawings = {
        "disc": drawing((120, 120, 280, 280), shape="ellipse"),
        "lens": drawing((40, 120, 360, 280), shape="ellipse"),
        "cross": drawing((170, 40, 230, 360), (40, 170, 360, 230)),
        "four squares": drawing((60, 60, 160, 160)),
        "bars": drawing((60, 60, 340, 100), (60, 180, 340, 220)),
        "ring": drawing((60, 60, 340, 90), (60, 60, 90, 340)),
    }
    hashes = {name: phash(copies.encoded(image, "PNG")) for name, image in drawings.items()}
    apart = {(a, b): (hashes[a] ^ hashes[b]).bit_count() for a, b in combinations(hashes, 2)}
    assert min(apart.values()) > NEAR, apart
    for name, image in drawings.items():
        again = {what: phash(data) for kind in (copies.encodings, copies.sizes) for what, data in kind(image)}
        assert not far(hashes[name], again), name


def test_narrow_pictures_are_averaged_along_their_length(sample_photos: dict[str, bytes]) -> None:
    """Where one side is under 64 pixels, and so scaled up, the other is still averaged, not sampled."""
    whole = copies.upright(sample_photos["000000001"])
    strip = whole.resize((1024, 48), Image.Resampling.BOX)
    original = phash(copies.encoded(strip, "PNG"))
    smaller = strip.resize((600, 28), Image.Resampling.BOX)
    assert not far(original, {"600 wide": phash(copies.encoded(smaller, quality=85))})
