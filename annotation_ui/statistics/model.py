"""Tells how good the model of levels is that orders the queue, as `curate annotate learn` has measured it."""

import json
from typing import Any

from pydantic import BaseModel

from curation.workspace import Workspace

CHANCE = 0.5
"""The area under ROC of a model that tells nothing."""


class Estimate(BaseModel):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


class LevelModel(BaseModel):
    """How good the model is on images that it has not seen, or what it lacks; a figure is null where it is unknown."""

    note: str | None = None
    """What it lacks, if there is none."""
    decided: int = 0
    """Number of decided images by which it was measured."""
    accuracy: Estimate | None = None
    """Share of images whose level it names."""
    baseline: Estimate | None = None
    """The same, if the most frequent level were always named."""
    agreement: Estimate | None = None
    """Share of pairs of votes on one image that are equal."""
    level5_auc: Estimate | None = None
    """Area under ROC of Level 5 or not."""
    is_useful: bool = False
    """Whether it surely tells Level 5 better than chance."""
    undecided: int = 0
    """Number of kept images that are not decided."""
    level5: Estimate | None = None
    """How many of them are likely of Level 5."""


def level_model(workspace: Workspace) -> LevelModel | None:
    """Returns how good the model is; None if there is none, or its file cannot be read."""
    try:
        facts = json.loads(workspace.level_model.read_text(encoding="utf-8"))
        if "note" in facts:
            return LevelModel(note=facts["note"])
        found, left = facts["accuracy"], facts["remaining"]
        auc = _estimate(found["level5_auc"])
        return LevelModel(
            decided=facts["decided"],
            accuracy=_estimate(found["accuracy"]),
            baseline=_estimate(found["baseline_accuracy"]),
            agreement=_estimate(found["agreement"]),
            level5_auc=auc,
            is_useful=auc is not None and auc.low > CHANCE,
            undecided=left["images"],
            level5=Estimate(value=left["level5"], low=left["low"], high=left["high"]),
        )
    except (OSError, ValueError, KeyError, TypeError):  # of another version, or half written by hand
        return None


def _estimate(figures: list[Any] | None) -> Estimate | None:
    return None if figures is None else Estimate(value=figures[0], low=figures[1], high=figures[2])
