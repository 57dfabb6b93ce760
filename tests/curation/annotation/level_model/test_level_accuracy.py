"""The parts of the model of levels by themselves: scales, calibration, honest figures, what remains, and the order."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from curation.annotation.level_model.accuracy import area_under_roc, calibration_error, figures, unseen_probabilities
from curation.annotation.level_model.features import Rows
from curation.annotation.level_model.ordinal import as_levels, fit, split, steps
from curation.annotation.level_model.preparation import Preparation
from curation.annotation.level_model.queue_order import tiers
from curation.annotation.level_model.remaining import remaining
from curation.annotation.level_model.targets import Voted
from curation.annotation.majority import outcomes
from curation.workspace.schemas import PREDICTIONS
from tests import levelled


def voted(votes: np.ndarray) -> Voted:
    """Returns images with three votes each, (n, 3), decided as the stage does it."""
    counts = np.stack([(votes == level).sum(axis=1) for level in range(1, 6)], axis=1)
    levels, _ = outcomes(counts, asked=3)
    return Voted(
        pa.array([f"c/0/{n}" for n in range(len(votes))]), counts.astype(float), levels, np.ones(len(votes), bool)
    )


def world(count: int, seed: int = 0, width: int = 0) -> tuple[np.ndarray, Voted]:
    """Returns features and votes of images; with a width, of embeddings that mostly hold something else than worth."""
    worths = levelled.worth(count, seed)
    scores = levelled.photo_scores(worths, seed)
    numbers = np.stack([scores[name] for name in ("sharpness", "contrast", "entropy", "saturation")], axis=1)
    vectors = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float16)
    rows = Rows(pa.array([f"c/0/{n}" for n in range(count)]), numbers, vectors)
    return Preparation(rows).apply(rows), voted(levelled.votes(worths, seed))


def test_probabilities_are_calibrated() -> None:
    """Of images that it has not seen and gives a chance of about 20 %, about 20 % are of the level, and so on."""
    features, train = world(800, 1)
    model = fit(features, train.shares, train.outcomes, train.ended)
    other, truth = world(6000, 1)  # the first 800 draws differ too: numpy fills whole arrays
    rows = truth.decided
    p = model.probabilities(other)[rows]
    for level in (3, 4, 5):
        assert calibration_error(p[:, level - 1], (truth.levels[rows] == level).astype(float), 10) < 0.05, level


def test_embeddings_of_noise_do_no_harm_to_fifty_images() -> None:
    """768 numbers without any meaning beside four signals and 50 images: hardly worse than the most frequent level."""
    features, images = world(50, 3, width=768)
    found = figures(unseen_probabilities(features, images), images)
    assert found["accuracy"][0] > found["baseline_accuracy"][0] - 0.15
    assert found["level5_brier"][0] < 1.15 * found["level5_brier_baseline"][0]


def test_the_figures_are_not_those_of_images_that_were_learned_from() -> None:
    """A hundred signals, of which three tell a little: what was learned by heart is worth nothing on other images."""
    rng = np.random.default_rng(8)
    worths = levelled.worth(2120, 8)
    features = rng.normal(size=(2120, 100))
    features[:, :3] += 0.6 * worths[:, None]
    images = voted(levelled.votes(worths, 8))
    own, other = images.take(np.arange(120)), images.take(np.arange(120, 2120))
    claimed = figures(unseen_probabilities(features[:120], own), own)["level5_auc"]
    true = figures(fit(features[:120], own.shares, own.outcomes, own.ended).probabilities(features[120:]), other)
    assert claimed[0] == pytest.approx(true["level5_auc"][0], abs=0.1) and claimed[0] < 0.9
    assert claimed[1] < true["level5_auc"][0] < claimed[2]


def test_votes_at_random_are_found_to_be_unpredictable() -> None:
    """Nothing that the model sees tells anything of the votes: the honest figures say so."""
    features, _ = world(300, 4)
    images = voted(np.random.default_rng(0).choice([3, 4, 5], (300, 1)).repeat(3, axis=1))
    found = figures(unseen_probabilities(features, images), images)
    assert found["level5_auc"][1] < 0.5 < found["level5_auc"][2] + 0.05
    assert found["accuracy"][0] < 0.45 and found["level5_brier"][0] > 0.95 * found["level5_brier_baseline"][0]


def test_figures_of_known_predictions() -> None:
    """Four decided images of which two are hit, and a tie, which is neither hit nor missed."""
    images = voted(np.array([[5, 5, 5], [5, 5, 3], [4, 4, 4], [3, 3, 4], [3, 4, 5]]))
    p = np.array([[0, 0, 0, 0.2, 0.8], [0, 0, 0.1, 0.5, 0.4], [0, 0, 0, 1, 0], [0.7, 0, 0.3, 0, 0], [0, 0, 0, 0, 1]])
    found = figures(p, images)
    assert found["accuracy"][0] == 0.5 and found["baseline_accuracy"][0] == 0.5
    assert found["mean_error"][0] == pytest.approx((0 + 1 + 0 + 2) / 4)
    assert found["baseline_error"][0] == pytest.approx((0 + 0 + 1 + 2) / 4)
    assert found["agreement"][0] == pytest.approx((3 + 1 + 3 + 1) / 12, abs=1e-4)
    assert found["level5_auc"][0] == 1
    assert found["level5_brier"][0] == pytest.approx((0.2**2 + 0.6**2) / 4)


def test_area_under_roc_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    scores, positive = rng.integers(0, 9, 200) / 9, (rng.random(200) < 0.3).astype(float)
    assert area_under_roc(scores, positive) == pytest.approx(roc_auc_score(positive, scores))
    assert np.isnan(area_under_roc(scores, np.zeros(200)))


def test_steps_and_levels_are_the_same_told_in_two_ways() -> None:
    levels = np.array([[0.1, 0.2, 0.3, 0.15, 0.25], [0.2, 0.2, 0.2, 0.2, 0.2]])
    log_odds = np.stack([np.log(beyond / at) for beyond, at in steps(levels)], axis=1)
    assert as_levels(log_odds) == pytest.approx(levels)


def test_scores_that_tell_nothing_give_all_images_the_same_chance() -> None:
    rng = np.random.default_rng(1)
    images = voted(rng.choice([3, 4, 5], (400, 1)).repeat(3, axis=1))
    p = fit(rng.normal(size=(400, 30)), images.shares, images.outcomes, images.ended).probabilities(
        rng.normal(size=(500, 30))
    )
    assert p.mean(axis=0) == pytest.approx([0, 0, 1 / 3, 1 / 3, 1 / 3], abs=0.06)
    assert p[:, 4].std() < 0.05


def test_every_fold_has_its_share_of_every_level() -> None:
    labels = np.array([1] * 5 + [4] * 50 + [5] * 20)
    tested = []
    for train, test in split(labels, 5, 0):
        assert np.bincount(labels[test])[[1, 4, 5]].tolist() == [1, 10, 4] and not set(train) & set(test)
        tested += test.tolist()
    assert sorted(tested) == list(range(75))


def test_a_signal_far_outside_the_range_of_the_voted_images_counts_as_its_end() -> None:
    numbers = np.array([[1.0, np.nan], [2.0, np.nan], [3.0, 7.0], [np.nan, 8.0]])
    vectors = np.zeros((4, 0), np.float16)
    keys = pa.array(list("abcd"))
    preparation = Preparation(Rows(keys, numbers, vectors))
    ends = preparation.apply(Rows(keys[:2], np.array([[3.0, 7.5], [1e9, 7.5]]), vectors[:2]))
    assert (ends[0] == ends[1]).all()
    made = preparation.apply(Rows(keys, numbers, vectors))
    assert np.isfinite(made).all() and made[3, 0] == 0
    assert made.shape == (4, 4)  # both columns, and for each whether it is missing


# --- How many images of Level 5 remain --------------------------------------------------------------------------------

POPULATION, VOTED, ROUNDS = 3000, 150, 200


def coverage(bias: float, choose: str, seed: int = 0) -> tuple[float, float]:
    """Returns how often the interval holds the truth, and its mean width as a share of the images.

    Args:
        bias: by how much the model's log odds are wrong everywhere.
        choose: how the voted images are chosen: `random`, or `model` for those with the highest chance.
    """
    rng = np.random.default_rng(seed)
    covered, widths = 0, []
    for _ in range(ROUNDS):
        odds = rng.normal(-1.5, 1.2, POPULATION)
        truth = (rng.random(POPULATION) < 1 / (1 + np.exp(-odds))).astype(float)
        believed = 1 / (1 + np.exp(-(odds + bias)))
        order = rng.permutation(POPULATION) if choose == "random" else np.argsort(-odds + rng.normal(0, 1, POPULATION))
        chosen, rest = order[:VOTED], order[VOTED:]
        found = remaining(believed[chosen], truth[chosen], believed[rest])
        covered += found.low <= truth[rest].sum() <= found.high
        widths.append((found.high - found.low) / len(rest))
    return covered / ROUNDS, float(np.mean(widths))


@pytest.mark.parametrize("bias", [0.0, 0.8, -0.8])
def test_the_interval_holds_the_truth_where_votes_are_random_whatever_the_model_is_worth(bias: float) -> None:
    share, width = coverage(bias, "random")
    assert 0.92 <= share <= 0.995
    assert width < 0.16  # 150 votes without any model: 0.13 at a share of a quarter


def test_the_interval_holds_the_truth_where_a_calibrated_model_chose_what_to_vote_on() -> None:
    assert coverage(0.0, "model")[0] >= 0.9


def test_the_share_of_images_unlike_any_voted_one_is_told() -> None:
    chances = np.linspace(0.3, 0.6, 60)
    found = remaining(chances, (chances > 0.4).astype(float), np.array([0.1, 0.35, 0.5, 0.9]))
    assert (found.images, found.outside) == (4, 0.5)
    assert remaining(chances, chances, np.zeros(0)).images == 0


def test_without_any_image_of_level_5_some_may_still_remain() -> None:
    found = remaining(np.full(50, 0.02), np.zeros(50), np.full(1000, 0.02))
    assert found.low == 0 and 60 <= found.high <= 110  # the rule of three: 60


# --- The order of the queue -------------------------------------------------------------------------------------------


def predicted(*rows: list[float]) -> pa.Table:
    """Returns predictions with these chances."""
    return pa.table(
        {"key": [f"c/0/{n}" for n in range(len(rows))]}
        | {f"p{level}": pa.array([row[level - 1] for row in rows], pa.float32()) for level in range(1, 6)}
        | {"expected": pa.array([0.0] * len(rows), pa.float32())},
        schema=PREDICTIONS,
    )


def test_the_most_likely_level_5_come_first() -> None:
    chances = np.random.default_rng(0).permutation(100) / 100
    found = tiers(predicted(*([0, 0, 0, 1 - p, p] for p in chances)), "level5")
    assert found.tolist() == [9 - int(round(100 * p)) // 10 for p in chances]


def test_the_most_uncertain_come_first() -> None:
    certain, between, open_ = [0, 0, 0, 0, 1.0], [0, 0, 0, 0.3, 0.7], [0.2] * 5
    assert (
        tiers(predicted(*[certain] * 5, *[between] * 3, *[open_] * 2), "uncertain").tolist()
        == [5] * 5 + [2] * 3 + [0] * 2
    )


def test_random_is_one_tier_and_equal_chances_share_one() -> None:
    table = predicted(*[[0, 0, 0, 0.5, 0.5]] * 7)
    assert tiers(table, "random").tolist() == tiers(table, "level5").tolist() == [0] * 7
    assert tiers(predicted(), "level5").tolist() == []
