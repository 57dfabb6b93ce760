"""Alpha and kappa against published examples and their definitions, their intervals, and who differs from whom."""

import itertools
import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curation.annotation.agreement import (
    alpha_interval,
    confusion,
    fleiss_kappa,
    kappa_interval,
    krippendorff_alpha,
)
from curation.workspace.schemas import VOTES

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


# --- Fleiss' kappa ----------------------------------------------------------------------------------------------------

FLEISS = np.array(
    [[0, 0, 0, 6, 0], [0, 3, 0, 0, 3], [0, 1, 4, 0, 1], [0, 0, 0, 0, 6], [0, 3, 0, 3, 0], [2, 0, 4, 0, 0],
     [0, 0, 4, 0, 2], [2, 0, 3, 1, 0], [2, 0, 0, 4, 0], [0, 0, 0, 0, 6], [1, 0, 0, 5, 0], [1, 1, 0, 4, 0],
     [0, 3, 3, 0, 0], [1, 0, 0, 5, 0], [0, 2, 0, 3, 1], [0, 0, 5, 0, 1], [3, 0, 0, 1, 2], [5, 1, 0, 0, 0],
     [0, 2, 0, 4, 0], [1, 0, 2, 0, 3], [0, 0, 0, 0, 6], [0, 1, 0, 5, 0], [0, 2, 0, 1, 3], [2, 0, 0, 4, 0],
     [1, 0, 0, 4, 1], [0, 5, 0, 1, 0], [4, 0, 0, 0, 2], [0, 2, 0, 4, 0], [1, 0, 5, 0, 0], [0, 0, 0, 0, 6]]
)  # fmt: skip
"""Fleiss (1971), table 1: six psychiatrists' diagnoses of thirty patients in five categories."""
TEN = np.array(
    [[0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1], [7, 7, 0, 0, 0],
     [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]]
)  # fmt: skip
"""Ten items, fourteen raters, five categories: the worked example on Wikipedia, "Fleiss' kappa"."""


def kappa_by_definition(units: list[list[int]]) -> float:
    """Agreement over items rated twice, and the chance from each item's shares: one rating after the other."""
    twice, rated = [u for u in units if len(u) > 1], [u for u in units if u]
    pairs = [[a == b for a, b in itertools.permutations(unit, 2)] for unit in twice]
    agreement = sum(sum(own) / len(own) for own in pairs) / len(twice)
    shares = [sum(unit.count(v) / len(unit) for unit in rated) / len(rated) for v in range(1, VALUES + 1)]
    chance = sum(share**2 for share in shares)
    return (agreement - chance) / (1 - chance)


@pytest.mark.parametrize(("counts", "kappa"), [(FLEISS, 0.430), (TEN, 0.210)])
def test_published_examples_of_kappa(counts: np.ndarray, kappa: float) -> None:
    assert len(set(counts.sum(axis=1))) == 1
    assert fleiss_kappa(counts) == pytest.approx(kappa, abs=0.0005)


@pytest.mark.parametrize("seed", range(6))
def test_kappa_of_unequal_numbers_of_ratings_is_as_defined(seed: int) -> None:
    chance = random.Random(seed)
    units = [[chance.choice((2, 3, chance.randint(1, 5))) for _ in range(chance.randint(0, 6))] for _ in range(40)]
    assert {len(unit) for unit in units} >= {0, 1, 2, 5}
    assert fleiss_kappa(counts_of(units)) == pytest.approx(kappa_by_definition(units))


@pytest.mark.parametrize("units", [[[3], [4], [5]], [[4, 4], [4, 4, 4]], [[4, 4], [4]], [[]]])
def test_where_kappa_is_not_defined_it_is_none(units: list[list[int]]) -> None:
    assert fleiss_kappa(counts_of(units)) is None and kappa_interval(counts_of(units)) is None
    assert alpha_interval(counts_of(units)) is None


def test_nothing_has_no_coefficient() -> None:
    nothing = np.zeros((0, VALUES), np.int64)
    for measure in (krippendorff_alpha, fleiss_kappa, alpha_interval, kappa_interval):
        assert measure(nothing) is None


# --- Intervals --------------------------------------------------------------------------------------------------------


def some_counts(chance: np.random.Generator, items: int) -> np.ndarray:
    likely = chance.integers(1, VALUES + 1, items)
    ratings = np.clip(likely[:, None] + chance.integers(-1, 2, (items, 3)), 1, VALUES)
    return np.stack([(ratings == value).sum(axis=1) for value in range(1, VALUES + 1)], axis=1)


def test_intervals_are_those_of_drawing_items_one_by_one() -> None:
    chance = np.random.default_rng(0)
    counts = some_counts(chance, 120)
    for measure, interval in ((krippendorff_alpha, alpha_interval), (fleiss_kappa, kappa_interval)):
        found = [measure(counts[chance.integers(0, 120, 120)]) for _ in range(1500)]
        assert interval(counts) == pytest.approx(tuple(np.percentile(np.array(found), [2.5, 97.5])), abs=0.012)


@pytest.mark.slow
def test_intervals_hold_the_coefficient_of_a_large_population_about_as_often_as_they_say() -> None:
    chance = np.random.default_rng(1)
    population = some_counts(chance, 400_000)
    for measure, interval in ((krippendorff_alpha, alpha_interval), (fleiss_kappa, kappa_interval)):
        true, held = measure(population), 0
        for _ in range(25):
            low, high = interval(some_counts(chance, 150)) or (1, 0)
            held += low <= (true or 0) <= high
        assert 21 <= held <= 25
        low, high = interval(population) or (1, 0)
        assert low < (true or 0) < high < low + 0.01


def test_items_that_say_nothing_change_no_interval_of_alpha() -> None:
    counts = some_counts(np.random.default_rng(2), 50)
    once = np.eye(VALUES, dtype=np.int64)
    assert alpha_interval(np.concatenate([counts, once])) == alpha_interval(counts)
    assert alpha_interval(counts[::-1]) == alpha_interval(counts)


# --- Who differs from whom --------------------------------------------------------------------------------------------


def table_of(votes: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([{"round": 1, "revision": 1} | vote for vote in votes], schema=VOTES)


def test_who_named_which_level_where_another_named_which() -> None:
    given = {"a": {"zoe": 5, "安": 4, "bo": 4}, "b": {"zoe": 2, "安": 3}, "c": {"zoe": 5, "bo": 5}, "d": {"max": 1}}
    votes = [{"key": k, "annotator": who, "level": n} for k, own in given.items() for who, n in own.items()]
    votes += [{"key": "b", "annotator": "安", "level": 2, "revision": 2}]  # which counts in place of Level 3
    votes += [{"key": "c", "annotator": "max", "level": 5}, {"key": "c", "annotator": "max", "level": None, "revision": 2}]  # fmt: skip
    found = confusion(table_of(votes))
    told = {
        pair: {(int(i) + 1, int(j) + 1): int(own[i, j]) for i, j in np.argwhere(own)}
        for pair, own in found.counts.items()
    }
    assert told == {
        ("bo", "zoe"): {(4, 5): 1, (5, 5): 1}, ("bo", "安"): {(4, 4): 1}, ("zoe", "安"): {(5, 4): 1, (2, 2): 1}}  # fmt: skip
    assert found.agreement == {"bo": 2 / 3, "max": None, "zoe": 2 / 4, "安": 2 / 3}


def test_confusion_is_as_counted_pair_by_pair() -> None:
    chance = random.Random(3)
    votes = [{"key": f"k{chance.randint(0, 60)}", "annotator": f"a{chance.randint(0, 6)}", "round": chance.randint(1, 2),
              "level": chance.randint(1, 5)} for _ in range(300)]  # fmt: skip
    latest = {(v["key"], v["annotator"], v["round"]): v for v in votes}.values()
    expected: dict[tuple[str, str], np.ndarray] = {}
    for a, b in itertools.permutations(latest, 2):
        if a["key"] == b["key"] and a["annotator"] < b["annotator"]:
            own = expected.setdefault((a["annotator"], b["annotator"]), np.zeros((5, 5), int))
            own[a["level"] - 1, b["level"] - 1] += 1
    found = confusion(table_of(votes))
    assert found.counts.keys() == expected.keys()
    assert all((found.counts[pair] == own).all() for pair, own in expected.items())
    whose = [(pair, own) for pair, own in expected.items() if "a3" in pair]
    assert found.agreement["a3"] == pytest.approx(
        sum(np.trace(own) for _, own in whose) / sum(own.sum() for _, own in whose)
    )


@pytest.mark.parametrize("people", [[], ["a"], ["a", "a"]])
def test_nobody_and_one_person_differ_from_nobody(people: list[str]) -> None:
    votes = [{"key": "k", "annotator": who, "level": 3, "round": n + 1} for n, who in enumerate(people)]
    found = confusion(table_of(votes))
    assert found.counts == {} and found.agreement == dict.fromkeys(people)
