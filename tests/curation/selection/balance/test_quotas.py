"""The balance: caps and shares are exact, never more than there is, and the best of each group stay."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import UserError
from curation.recipe.sections import Balance
from curation.selection.balance.quotas import Balanced, beyond, level, quotas, whole

SIZES = st.lists(st.integers(1, 100_000), min_size=1, max_size=40)


def sizes(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


@given(SIZES, st.integers(1, 2_000_000), st.floats(0, 1))
def test_shares_add_up_to_the_total_and_none_is_more_than_there_is(found: list[int], total: int, power: float) -> None:
    stay = level(sizes(*found), total, power)
    assert stay.sum() == min(total, sum(found))
    assert (stay >= 0).all() and (stay <= found).all()


@given(SIZES, st.integers(1, 2_000_000), st.floats(0, 1))
def test_groups_that_give_not_all_they_have_are_in_proportion(found: list[int], total: int, power: float) -> None:
    stay, weights = level(sizes(*found), total, power), np.array(found, float) ** power
    some = stay < found
    if some.any():
        height = (total - stay[~some].sum()) / weights[some].sum()
        assert (np.abs(stay[some] - height * weights[some]) < 1 + 1e-6).all()
        assert (stay[~some] <= height * weights[~some] + 1).all()  # those that give all would have been asked for more


def test_power_1_leaves_proportions_and_power_0_makes_equal() -> None:
    found = sizes(60_000, 30_000, 10_000)
    assert level(found, 1000, 1.0).tolist() == [600, 300, 100]
    assert level(found, 900, 0.0).tolist() == [300, 300, 300]
    assert level(sizes(400, 100), 60, 0.5).tolist() == [40, 20]


def test_what_a_small_group_lacks_the_others_give() -> None:
    assert level(sizes(1000, 10, 1000, 200), 1000, 0.0).tolist() == [395, 10, 395, 200]


def test_of_equal_groups_the_first_get_what_is_left_over() -> None:
    assert level(sizes(10, 10, 10), 10, 0.5).tolist() == [4, 3, 3]
    assert whole(np.array([1.5, 0.2, 1.3]), 3).tolist() == [2, 0, 1]


def rules(**values: object) -> Balance:
    return Balance.model_validate({"by": "category"} | values)


def test_a_cap_is_one_for_every_group() -> None:
    assert quotas(["a", "b", "c"], sizes(5, 100, 101), rules(at_most=100)).tolist() == [5, 100, 100]


@pytest.mark.parametrize(("shares", "power", "stay"), [
    ({"people": 0.3, "food": 0.7}, None, [0, 70, 30, 0]),  # nothing is left for the others
    ({"people": 0.3, "food": 0.1}, None, [20, 10, 30, 40]),  # 60 left: in proportion to 1000 and 2000
    ({"people": 0.3, "food": 0.1}, 0.0, [30, 10, 30, 30]),  # or equal
    ({"people": 1 / 3, "food": 1 / 3, "cars": 1 / 3}, None, [34, 33, 33, 0]),  # 100 in all, not 99 or 102
    ({"": 0.5, "people": 0.5}, None, [0, 0, 50, 50]),
])  # fmt: skip
def test_shares_by_name(shares: dict[str, float], power: float | None, stay: list[int]) -> None:
    names = ["cars", "food", "people", ""]
    given = {"total": 100, "shares": shares} | ({} if power is None else {"power": power})
    assert quotas(names, sizes(1000, 1000, 1000, 2000), rules(**given)).tolist() == stay


def test_a_named_group_that_has_less_makes_the_set_smaller() -> None:
    given = rules(total=1000, shares={"food": 0.5, "people": 0.5})
    assert quotas(["food", "people"], sizes(20, 5000), given).tolist() == [20, 500]


def test_the_best_of_each_group_stay() -> None:
    groups = np.array([0, 1, 0, 0, 2, 1, 0], np.int32)
    assert beyond(groups, sizes(2, 1, 5)).tolist() == [False, False, False, True, False, True, True]
    assert beyond(np.empty(0, np.int32), sizes()).tolist() == []


def places(count: int) -> pa.Table:
    """Rows best first, from the last of the second file to the first of the first."""
    order = list(range(count))[::-1]
    files, rows = [n // 4 for n in order], [n % 4 for n in order]
    return pa.table({"file": pa.array(files, pa.int32()), "row": pa.array(rows, pa.int64())})


def test_rows_are_told_by_file_with_their_groups() -> None:
    names = pa.array(["b", None, "a", "b", "b", "", "a", "b"])  # of rows 7, 6, … 0
    found = Balanced.find(places(8), names, rules(at_most=2))
    assert found.names == ["", "a", "b"]
    assert found.of_file(0) == [(0, "b", True), (1, "a", False), (2, "", False), (3, "b", True)]
    assert found.of_file(1) == [(0, "b", False), (1, "a", False), (2, "", False), (3, "b", False)]
    assert (found.count, found.before.tolist(), found.after.tolist()) == (2, [2, 2, 4], [2, 2, 2])
    assert found.of_file(7) == Balanced.none().of_file(0) == []


def test_clusters_are_in_the_order_of_their_numbers_and_rows_without_one_apart() -> None:
    numbers = pa.array(np.array([10, 2, -1, 10, 2, 10, 10, -1], np.int32))
    given = Balance(clusters=20, at_most=1)
    found = Balanced.find(places(8), numbers, given)
    assert found.names == ["", "2", "10"] and found.after.tolist() == [1, 1, 1]
    assert found.notes(given) == ["balance: 2 images with no embedding, a group of their own"]


def test_what_one_would_not_expect_is_said() -> None:
    given = rules(total=1000, shares={"food": 0.5, "people": 0.002})
    found = Balanced.find(places(8), pa.array(["food", "people"] * 4), given)
    assert found.notes(given) == ['balance: groups that have less than their share: "food" 4 of 500']
    found.check(given)
    with pytest.raises(UserError, match=r'select\.balance\.shares: no image .* "foo"; did you mean "food"'):
        found.check(rules(total=10, shares={"foo": 0.5}))
    Balanced.none().check(given)  # where nothing passes, nothing is misspelt
