"""The model of levels: beside other ordinal models, the honesty of its estimate, and its time over 100,000 images."""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from sklearn.linear_model import LogisticRegression

from curation.annotation.level_model.accuracy import area_under_roc, unseen_probabilities
from curation.annotation.level_model.features import Rows
from curation.annotation.level_model.ordinal import (
    STRENGTHS,
    TRIED,
    Matrix,
    as_levels,
    fit,
    logistic,
    split,
    steps,
)
from curation.annotation.level_model.preparation import Preparation
from curation.annotation.level_model.remaining import remaining
from curation.annotation.level_model.stage import learn
from curation.annotation.level_model.targets import Voted
from curation.annotation.votes import decide
from tests import bench, levelled
from tests.benchmarks.report import Figure, in_fresh_process, peak_mb, show

SIGNALS = 20
Candidate = Callable[[Matrix, Matrix, float, Matrix], Matrix]
"""Learns from features and shares of votes at a regularisation C, and predicts the levels of other features."""


def main() -> None:
    """Measures the models, then the stage in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--loops", type=int, default=6, help="simulated loops of voting by the model's order")
    parser.add_argument("--folder", type=Path, help="measure on the workspace below this folder")
    given = parser.parse_args()
    if given.folder:
        stage(given.folder, given.rows)
        return
    for nominal in (False, True):
        for count in (60, 300, 1500):
            show(compared(count, nominal))
    show([covered(given.loops, by_model) for by_model in (False, True)])
    show(embeddings())
    with tempfile.TemporaryDirectory() as folder:
        in_fresh_process("tests.benchmarks.level_model", "--rows", str(given.rows), "--folder", folder)


def world(count: int, nominal: bool, seed: int) -> tuple[Matrix, Voted]:
    """Returns features and votes of images.

    Args:
        count: number of images.
        nominal: whether Levels 1 and 2 (unsafe, artificial) depend on other signals than the images' worth does, as
            they do in life.
        seed: seed of the images.
    """
    rng = np.random.default_rng(seed)
    signals = rng.normal(size=(count, SIGNALS))
    worth = signals[:, :6] @ np.array([0.6, 0.5, -0.4, 0.3, 0.3, 0.2])

    def seen(values: Matrix) -> Matrix:
        return values[:, None] + rng.normal(size=(count, 3)) * 0.5

    votes = 1 + np.digitize(seen(worth), levelled.CUTS)
    if nominal:
        votes = np.where(seen(signals[:, 7]) > 1.4, 2, np.maximum(votes, 3))
        votes = np.where(seen(signals[:, 8]) > 1.8, 1, votes)
    counts = np.stack([(votes == level).sum(axis=1) for level in range(1, 6)], axis=1).astype(float)
    levels = np.array([decide(row)[0] or 0 for row in votes.tolist()])
    keys = pa.array([f"c/0/{n}" for n in range(count)])
    rows = Rows(keys, signals, np.zeros((count, 0), np.float16))
    return Preparation(rows).apply(rows), Voted(keys, counts, levels, np.ones(count, np.bool_))


def sequential(train: Matrix, shares: Matrix, strength: float, test: Matrix) -> Matrix:
    """The model without its calibration."""
    fitted = [logistic(train, beyond, at, strength) for beyond, at in steps(shares)]
    return as_levels(np.stack([test @ weights + intercept for weights, intercept in fitted], axis=1))


def cumulative(train: Matrix, shares: Matrix, strength: float, test: Matrix) -> Matrix:
    """A regression for each threshold over all images (Frank and Hall 2001), sorted where they cross."""
    fitted = [logistic(train, beyond, 1 - beyond, strength) for beyond, _ in steps(shares)]
    return _of_thresholds(np.stack([test @ weights + intercept for weights, intercept in fitted], axis=1))


def proportional_odds(train: Matrix, shares: Matrix, strength: float, test: Matrix) -> Matrix:
    """One direction for all thresholds (McCullagh 1980), fitted as one regression over images times thresholds."""
    thresholds = 10 * np.eye(4)  # large, so that they are hardly regularised

    def stacked(features: Matrix) -> Matrix:
        return np.concatenate([np.hstack([features, np.tile(t, (len(features), 1))]) for t in thresholds])

    beyond = np.concatenate([beyond for beyond, _ in steps(shares)])
    weights, intercept = logistic(stacked(train), beyond, 1 - beyond, strength)
    return _of_thresholds((stacked(test) @ weights + intercept).reshape(4, -1).T)


def _of_thresholds(log_odds: Matrix) -> Matrix:
    """Converts log odds of exceeding levels 1 to 4, (n, 4), to the probability of each level, (n, 5)."""
    above = -np.sort(-1 / (1 + np.exp(-log_odds)), axis=1)
    ends = np.ones((len(above), 1))
    return -np.diff(np.concatenate([ends, above, 0 * ends], axis=1), axis=1)


def multinomial(train: Matrix, shares: Matrix, strength: float, test: Matrix) -> Matrix:
    """A multinomial regression, which knows no order."""
    rows, levels = np.nonzero(shares)
    model = LogisticRegression(C=strength, solver="newton-cholesky", max_iter=200)
    model.fit(train[rows], levels, shares[rows, levels])
    found = np.zeros((len(test), 5))
    found[:, model.classes_] = model.predict_proba(test)
    return found


def chosen(candidate: Candidate, train: Matrix, shares: Matrix, test: Matrix) -> Matrix:
    """Predicts with the regularisation of least logarithmic loss on unseen votes, as the model itself does."""
    losses = dict.fromkeys(STRENGTHS, 0.0)
    for inner, outer in split(shares[:TRIED].argmax(axis=1), 3, 0):
        for strength in STRENGTHS:
            found = candidate(train[inner], shares[inner], strength, train[outer])
            losses[strength] -= float((shares[outer] * np.log(np.maximum(found, 1e-4))).sum())
    return candidate(train, shares, min(losses, key=losses.__getitem__), test)


def compared(count: int, nominal: bool, worlds: int = 3) -> list[Figure]:
    """Returns the logarithmic loss on unseen images' decided levels and the area under ROC of Level 5 by model."""

    def calibrated(train: Matrix, voted: Voted, test: Matrix) -> Matrix:
        return fit(train, voted.shares, voted.outcomes, voted.ended).probabilities(test)

    losses: dict[str, list[float]] = {}
    areas: dict[str, list[float]] = {}
    for seed in range(worlds):
        train, voted = world(count, nominal, seed)
        test, truth = world(4000, nominal, 100 + seed)
        rows = np.flatnonzero(truth.decided)
        for name, found in {
            "the model": calibrated(train, voted, test),
            "without calibration": chosen(sequential, train, voted.shares, test),
            "cumulative": chosen(cumulative, train, voted.shares, test),
            "proportional odds": chosen(proportional_odds, train, voted.shares, test),
            "multinomial": chosen(multinomial, train, voted.shares, test),
        }.items():
            chance = found[rows, truth.levels[rows] - 1]
            losses.setdefault(name, []).append(float(-np.log(np.maximum(chance, 1e-4)).mean()))
            areas.setdefault(name, []).append(area_under_roc(found[rows, 4], (truth.levels[rows] == 5).astype(float)))
    kind = "nominal" if nominal else "ordered"
    lines = [Figure(f"{kind} levels, {count} images, {n}: loss", float(np.mean(v)), "nats") for n, v in losses.items()]
    return lines + [Figure(f"the same, {n}: area under ROC", float(np.mean(v)), "") for n, v in areas.items()]


def covered(loops: int, by_model: bool) -> Figure:
    """Returns how often the interval of what remains holds the truth after 60 random votes and three rounds of 60.

    Args:
        loops: number of simulations.
        by_model: whether the model orders the rounds, the most likely of Level 5 first; else they are random.
    """
    held = 0
    for seed in range(loops):
        features, truth = world(3000, True, seed)
        rng = np.random.default_rng(seed)
        asked = rng.permutation(3000)[:60]
        for _ in range(3):
            own = truth.take(asked)
            model = fit(features[asked], own.shares, own.outcomes, own.ended)
            rest = rng.permutation(np.setdiff1d(np.arange(3000), asked))
            if by_model:
                rest = rest[np.argsort(-model.probabilities(features[rest])[:, 4], kind="stable")]
            asked = np.concatenate([asked, rest[:60]])
        own, rest = truth.take(asked), np.setdiff1d(np.arange(3000), asked)
        model = fit(features[asked], own.shares, own.outcomes, own.ended)
        unseen = unseen_probabilities(features[asked], own)
        found = remaining(unseen[:, 4], own.outcomes[:, 4], model.probabilities(features[rest])[:, 4])
        held += found.low <= truth.outcomes[rest, 4].sum() <= found.high
    kind = "ordered by the model" if by_model else "in random order"
    return Figure(f"240 of 3,000 images voted on {kind}: interval holds", 100 * held / loops, f"% of {loops}")


def embeddings(rows: int = 10_000, width: int = 768) -> list[Figure]:
    """Returns the time for predicting one shard of embeddings, beside that of reading them once from memory."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(rows, width)).astype(np.float16)
    keys = pa.array([f"c/0/{n}" for n in range(rows)])
    shard = Rows(keys, rng.normal(size=(rows, SIGNALS)), vectors)
    images = levelled.votes(vectors[:300, :8].astype(np.float64).sum(axis=1) / np.sqrt(8))
    shares = np.stack([(images == level).mean(axis=1) for level in range(1, 6)], axis=1)
    began = time.process_time()
    preparation = Preparation(shard.take(np.arange(300)))
    model = fit(preparation.apply(shard.take(np.arange(300))), shares, shares, np.ones(300, np.bool_))
    learned = time.process_time() - began
    began = time.process_time()
    model.probabilities(preparation.apply(shard))
    predicted = (time.process_time() - began) * 1e6 / rows
    began = time.process_time()
    vectors.astype(np.float64)
    floor = (time.process_time() - began) * 1e6 / rows
    return [
        Figure("learning from 300 embeddings of 768 numbers, CPU", learned, "s"),
        Figure("predicting from embeddings, CPU", predicted, "µs an image", floor),
    ]


def stage(folder: Path, rows: int) -> None:
    """Prints the time and memory of `annotate learn` over images with signals, of which 300 have votes."""
    worths = [levelled.worth(rows // 10, seed) for seed in range(10)]
    made = levelled.workspace(folder, worths)
    cast = {
        f"c/{number:05d}/{row:06d}": own
        for number in range(10)
        for row, own in enumerate(levelled.votes(worths[number], number)[:30].tolist())
    }
    levelled.vote(made, folder, cast)
    before = peak_mb()
    began, cpu = time.monotonic(), time.process_time()
    found = learn(bench.opened(made))
    wall, cpu = time.monotonic() - began, time.process_time() - cpu
    assert found["predicted"] == rows
    show(
        [
            Figure(f"annotate learn, {rows:,} images with signals, wall", wall, "s", None, 20),
            Figure("the same, CPU", cpu, "s"),
            Figure("the same, memory beyond what making the workspace took", peak_mb() - before, "MB"),
            Figure("the same, area under ROC of Level 5", found["accuracy"]["level5_auc"][0], ""),
        ]
    )


if __name__ == "__main__":
    main()
