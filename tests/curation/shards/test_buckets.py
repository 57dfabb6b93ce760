from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.shards.buckets import bucket_name, buckets, nearest_bucket

SDXL = buckets(1024 * 1024, 64)


def test_buckets_hold_the_sizes_that_sdxl_recommends() -> None:
    sizes = {(1024, 1024), (1152, 896), (1216, 832), (1344, 768), (1536, 640), (2048, 512)}
    assert sizes | {(height, width) for width, height in sizes} <= set(SDXL)


@given(
    area=st.integers(64 * 64, 1 << 21),
    step=st.sampled_from([8, 16, 32, 64]),
    max_ratio=st.floats(1.6, 8),
)
def test_every_bucket_is_within_the_limits(area: int, step: int, max_ratio: float) -> None:
    try:
        found = buckets(area, step, max_ratio)
    except ValueError:
        assert area < 4 * step * step  # two or three steps of area leave 1 x 2 at best
        return
    assert found == sorted(set(found))
    for width, height in found:
        assert width % step == 0 and height % step == 0
        assert width * height <= area
        assert max(width, height) <= max_ratio * min(width, height)
        assert (height, width) in found
        taller_fits = width * (height + step) <= area
        wider_fits = (width + step) * height <= area
        assert not (taller_fits and wider_fits)


@pytest.mark.parametrize(
    ("area", "step", "max_ratio"), [(0, 64, 4.0), (4095, 64, 4.0), (4096, 0, 4.0), (4096, 64, 0.5)]
)
def test_limits_that_leave_no_bucket_are_refused(area: int, step: int, max_ratio: float) -> None:
    with pytest.raises(ValueError, match=f"area {area}, step {step} and max_ratio {max_ratio}"):
        buckets(area, step, max_ratio)


@pytest.mark.parametrize("bucket", SDXL)
def test_an_image_of_a_bucket_size_gets_that_bucket(bucket: tuple[int, int]) -> None:
    assert nearest_bucket(*bucket, SDXL) == bucket


@pytest.mark.parametrize(
    ("size", "bucket"),
    [
        ((4000, 3000), (1152, 896)),
        ((3000, 4000), (896, 1152)),
        ((1920, 1080), (1344, 768)),
        ((10_000, 1), (2048, 512)),
        ((500, 500), (1024, 1024)),
    ],
)
def test_nearest_bucket(size: tuple[int, int], bucket: tuple[int, int]) -> None:
    assert nearest_bucket(*size, SDXL) == bucket


def test_ties_go_to_the_larger_then_to_the_wider_bucket_in_any_order() -> None:
    assert nearest_bucket(1, 1, [(512, 512), (1024, 1024), (256, 256)]) == (1024, 1024)
    for choice in ([(896, 1152), (1152, 896)], [(1152, 896), (896, 1152)]):
        assert nearest_bucket(7, 7, choice) == (1152, 896)


@given(st.integers(1, 20_000), st.integers(1, 20_000))
def test_no_bucket_is_nearer(width: int, height: int) -> None:
    def distance(bucket: tuple[int, int]) -> float:
        return abs(log(width / height) - log(bucket[0] / bucket[1]))

    chosen = nearest_bucket(width, height, SDXL)
    assert distance(chosen) <= min(map(distance, SDXL)) + 1e-12


@pytest.mark.parametrize(("width", "height", "choice"), [(0, 1, SDXL), (1, -1, SDXL), (1, 1, [])])
def test_no_nearest_bucket(width: int, height: int, choice: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match=f"no bucket for {width}x{height}"):
        nearest_bucket(width, height, choice)


def test_bucket_name() -> None:
    assert bucket_name((1024, 768)) == "1024x768"
