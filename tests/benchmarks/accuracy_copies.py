"""Accuracy on copies that are made of a folder's own photos: blurred ones, and those that must be known again."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from curation.images import Picture, decode, fit
from curation.signals.photo import gray_512, phash, sharpness
from tests import copies
from tests.benchmarks.measure import Measure, share
from tests.labelled import auc, sharp_photos

PHOTOS = 100
NEAR = 6


def blurred(folder: Path) -> Iterator[Measure]:
    """Sharp photos against copies with a Gaussian blur of σ = 2 pixels: of the picture at a long side of 1024 at most, as
    people look at it, and at its own size, where σ = 2 of many megapixels is no visible blur.

    Photos of less than 512 pixels would make it easier, as nothing of the blur is lost in scaling; they are left out.
    """
    photos = sharp_photos(PHOTOS, long_side=512, folder=folder)
    for side, where, reach in ((1024, "long side 1024", 0.95), (None, "native size", None)):
        sharp, soft = [], []
        for data in photos.values():
            pixels = decode(data) if side is None else fit(decode(data), side)
            for found, shown in ((sharp, pixels), (soft, cv2.GaussianBlur(pixels, (0, 0), 2))):
                found.append(sharpness(gray_512(decode(copies.jpeg(shown, 95), 512))))
        if sharp:
            what = f"sharpness: AUC against copies blurred by 2 px, {where}"
            yield Measure(what, auc(sharp, soft), f"{len(sharp)} photos", reach, percent=False)


def copied(folder: Path) -> Iterator[Measure]:
    """Photos against copies as the web makes them."""
    photos = sharp_photos(PHOTOS, short_side=128, folder=folder)
    for what, kind in (("encoded anew", copies.encodings), ("scaled", copies.sizes), ("marked", copies.marked)):
        apart = {
            f"{name}, {how}": copies.differing_bits(hash_of(data), hash_of(copy))
            for name, data in photos.items()
            for how, copy in kind(copies.upright(data))
        }
        near = [name for name, bits in apart.items() if bits <= NEAR]
        yield from share(
            f"duplicates: photos {what}, joined (near: {NEAR})", apart, set(near).__contains__, reach=1, unit="copies"
        )


def hash_of(data: bytes) -> int | None:
    """The perceptual hash of a file."""
    return phash(gray_512(np.asarray(Picture(data).bgr(512))))
