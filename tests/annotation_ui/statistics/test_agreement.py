"""Agreement, from votes made by hand."""

import numpy as np
import pytest
from sqlalchemy import update

from annotation_ui.database.engine import Database
from annotation_ui.database.tables import GOLD, slots
from annotation_ui.statistics.agreement import agreement_of, confusion, equal_share, pairs, patterns
from tests.annotation_ui.made_up import by_hand, fill

VOTES = {
    "a": {"ann": 5, "bob": 5, "cid": 4},
    "b": {"ann": 2, "bob": 3, "cid": 2},
    "c": {"ann": 5, "bob": 5, "cid": 4},
    "d": {"bob": 1},
}


def test_images_with_equal_votes_are_counted_together(database: Database) -> None:
    by_hand(database, VOTES)
    by_hand(database, {"g": {"ann": 1, "bob": 1}}, kind=GOLD, known=1)
    found = database.read(lambda c: patterns(c, 1))
    assert sorted(found.tolist()) == [[0, 0, 0, 1, 2, 2], [0, 2, 1, 0, 0, 1], [1, 0, 0, 0, 0, 1]]
    assert agreement_of(found).images == 3


def test_the_coefficients_are_those_of_the_library(database: Database) -> None:
    from curation.annotation.agreement import fleiss_kappa, krippendorff_alpha

    by_hand(database, VOTES)
    counts = np.array([[0, 0, 0, 1, 2], [0, 2, 1, 0, 0], [0, 0, 0, 1, 2], [1, 0, 0, 0, 0]])
    found = agreement_of(database.read(lambda c: patterns(c, 1)))
    assert found.alpha == pytest.approx(krippendorff_alpha(counts))
    assert found.kappa == pytest.approx(fleiss_kappa(counts))
    assert found.alpha_interval is not None and found.alpha is not None
    assert found.alpha_interval[0] <= found.alpha <= found.alpha_interval[1]


def test_no_votes_have_no_agreement(database: Database) -> None:
    by_hand(database, {"a": {}})
    found = agreement_of(database.read(lambda c: patterns(c, 1)))
    assert (found.images, found.alpha, found.kappa, found.alpha_interval) == (0, None, None, None)


def test_confusion_counts_pairs_of_votes_on_one_image(database: Database) -> None:
    ids = by_hand(database, VOTES)
    found = database.read(lambda c: pairs(c, 1))
    between = confusion(found, ids["ann"], ids["bob"])
    assert between.sum() == 3 and between[4, 4] == 2 and between[1, 2] == 1  # Ann said 2 where Bob said 3
    assert (confusion(found, ids["bob"], ids["ann"]) == between.T).all()
    others = confusion(found, ids["cid"], None)
    assert others.sum() == 6 and others[3, 4] == 4 and others[1, 1] == 1 and others[1, 2] == 1
    assert equal_share(others) == pytest.approx(1 / 6)
    assert equal_share(confusion(found, 999, None)) is None


def test_votes_that_do_not_stand_do_not_count(database: Database) -> None:
    ids = by_hand(database, VOTES)
    retracted = update(slots).where(slots.c.person_id == ids["cid"])
    database.write(lambda c: c.execute(retracted.values(state="retracted", slot=None, level=None)))
    assert set(database.read(lambda c: pairs(c, 1))) == {(ids["ann"], ids["bob"])}
    assert database.read(lambda c: patterns(c, 1)).sum() == (2 + 2 + 1) + (2 + 1 + 1)


def test_pairs_agree_with_the_library_on_many_votes(database: Database) -> None:
    fill(database, 400, annotators=5)
    found = database.read(lambda c: pairs(c, 1))
    assert sum(int(matrix.sum()) for matrix in found.values()) == 360 * 3  # three pairs on each image with three votes
    counts = database.read(lambda c: patterns(c, 1))
    equal = sum(int(np.trace(matrix)) for matrix in found.values())
    assert equal == int((counts[:, :5] * (counts[:, :5] - 1) // 2 * counts[:, 5:]).sum())
