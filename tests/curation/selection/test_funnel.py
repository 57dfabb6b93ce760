"""The funnel: every step in order, with what is left after it."""

from curation.selection.funnel import BALANCE_UNDECIDED, NEAR_UNDECIDED, Funnel

WHOLE = Funnel(
    input=100,
    failed=3,
    dropped={"large": 10, "sharp": 0},
    undecided={"sharp": 2, NEAR_UNDECIDED: 4, BALANCE_UNDECIDED: 1},
    duplicate={"exact": 20, "near": 5},
    balance=15,
    kept=40,
)


def test_every_step_is_there_in_order_with_what_is_left() -> None:
    assert list(WHOLE.steps()) == [
        ("failed", "", 3, 97),
        ("dropped", "large", 10, 87),
        ("dropped", "sharp", 0, 87),
        ("undecided", "sharp", 2, 85),
        ("undecided", "dedup", 4, 81),
        ("undecided", "balance", 1, 80),
        ("duplicate", "exact", 20, 60),
        ("duplicate", "near", 5, 55),
        ("balance", "", 15, 40),
    ]
    assert WHOLE.complete


def test_it_is_complete_where_the_fates_sum_to_the_input() -> None:
    assert Funnel().complete and Funnel(input=2, failed=1, kept=1).complete
    assert not Funnel(input=2, kept=1).complete


def test_what_is_stored_of_it_is_all_of_it() -> None:
    assert Funnel(**WHOLE.as_dict()) == WHOLE
