"""Aspect-ratio buckets: all images of a batch share one size, chosen so that little of any image is cropped.

After NovelAI (2022), "Improvements on Stable Diffusion", and SDXL (arXiv 2307.01952, section 2.3 and appendix I).
"""

from collections.abc import Sequence
from fractions import Fraction

Bucket = tuple[int, int]
"""Width and height in pixels."""


def buckets(area: int, step: int, max_ratio: float = 4.0) -> list[Bucket]:
    """Returns all buckets, sorted by width, then height; for each bucket its transpose is in the list too.

    These are, for each width, the greatest height for which width * height is at most `area`, and the same with the
    sides swapped.

    Args:
        area: maximum number of pixels of a bucket, such as 1024 * 1024.
        step: both sides are multiples of this number of pixels.
        max_ratio: maximum ratio of the longer side to the shorter.

    Raises:
        ValueError: no size fits.
    """
    if step < 1 or area < step * step or not max_ratio >= 1:
        raise ValueError(f"no bucket with area {area}, step {step} and max_ratio {max_ratio}")
    widths = range(step, area // step + 1, step)
    sizes = {
        size
        for width, height in ((width, area // width // step * step) for width in widths)
        if max(width, height) <= max_ratio * min(width, height)
        for size in ((width, height), (height, width))
    }
    if not sizes:
        raise ValueError(f"no bucket with area {area}, step {step} and max_ratio {max_ratio}")
    return sorted(sizes)


def nearest_bucket(width: int, height: int, buckets: Sequence[Bucket]) -> Bucket:
    """Returns the bucket nearest in log aspect ratio; of equally near ones the larger, then the wider.

    Args:
        width, height: size of the image in pixels.
        buckets: the buckets to choose from.

    Raises:
        ValueError: a side is not positive, or there are no buckets.
    """
    if width < 1 or height < 1 or not buckets:
        raise ValueError(f"no bucket for {width}x{height} among {len(buckets)}")

    def rank(bucket: Bucket) -> tuple[Fraction, int, int]:
        ours, theirs = width * bucket[1], height * bucket[0]
        # exp |log(width / height) - log(bucket width / bucket height)|, without rounding
        return Fraction(max(ours, theirs), min(ours, theirs)), -bucket[0] * bucket[1], -bucket[0]

    ratio = width / height
    off = [max(ratio * bucket[1] / bucket[0], bucket[0] / (ratio * bucket[1])) for bucket in buckets]
    near = min(off) * (1 + 1e-9)  # the few near ones are ranked by exact fractions, which take fifty times as long
    return min((bucket for bucket, far in zip(buckets, off, strict=True) if far <= near), key=rank)


def bucket_name(bucket: Bucket) -> str:
    """Returns the name of a bucket in files and tables: "1024x1024"."""
    return f"{bucket[0]}x{bucket[1]}"
