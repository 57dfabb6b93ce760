"""Krippendorff's alpha, against the worked example of its author and against its definition pair by pair."""

import itertools

import numpy as np
import pytest

from curation.annotation.caption_eval.agreement import krippendorff_alpha

VALUES = 5


def counts_of(units: list[list[int]]) -> np.ndarray:
    return np.array([np.bincount(np.array(unit, int), minlength=VALUES + 1)[1:] for unit in units])


def by_definition(units: list[list[int]]) -> float:
    """1 - observed / expected disagreement, each a mean over ordered pairs of scores."""
    units = [unit for unit in units if len(unit) > 1]
    every = [value for unit in units for value in unit]
    n = {value: every.count(value) for value in range(1, VALUES + 1)}

    def distance(a: int, b: int) -> float:
        between = sum(n[value] for value in range(min(a, b), max(a, b) + 1))
        return (between - (n[a] + n[b]) / 2) ** 2

    observed = sum(distance(a, b) / (len(unit) - 1) for unit in units for a, b in itertools.permutations(unit, 2))
    expected = sum(distance(a, b) for a, b in itertools.permutations(every, 2))
    return 1 - (observed / len(every)) / (expected / (len(every) * (len(every) - 1)))


def test_the_worked_example_of_its_author() -> None:
    """Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section C to E: four observers, twelve units."""
    observers = ["1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3", ". 3 3 3 2 3 4 2 2 5 1 .", "1 2 3 3 2 4 4 1 2 5 1 ."]  # fmt: skip
    units = [[int(v) for v in unit if v != "."] for unit in zip(*(o.split() for o in observers), strict=True)]
    assert krippendorff_alpha(counts_of(units)) == pytest.approx(0.815, abs=0.0005)


@pytest.mark.parametrize("seed", range(8))
def test_the_definition_pair_by_pair(seed: int) -> None:
    random = np.random.default_rng(seed)
    units = []
    for _ in range(25):
        middle = random.integers(1, VALUES + 1)
        spread = random.integers(-1 - seed % 3, 2 + seed % 3, random.integers(0, 6))
        units.append([int(v) for v in np.clip(middle + spread, 1, VALUES)])
    assert krippendorff_alpha(counts_of(units)) == pytest.approx(by_definition(units))


def test_full_agreement_chance_and_opposition() -> None:
    random = np.random.default_rng(0)
    assert krippendorff_alpha(counts_of([[v, v, v] for v in (1, 2, 3, 5, 4)])) == 1
    assert abs(krippendorff_alpha(counts_of(random.integers(1, 6, (4000, 3)).tolist())) or 1) < 0.03
    opposed = krippendorff_alpha(counts_of([[1, 5], [5, 1], [1, 5], [5, 1]]))
    assert opposed is not None and opposed < -0.4


@pytest.mark.parametrize("units", [[[3], [4], [5]], [[4, 4], [4, 4, 4]], [[]]])
def test_where_it_is_not_defined_it_is_none(units: list[list[int]]) -> None:
    assert krippendorff_alpha(counts_of(units)) is None
