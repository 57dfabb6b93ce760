"""Says in a few lines how accurate the model of levels is, and how many images of Level 5 remain."""

from typing import Any

from curation.counts import counted

CHANCE = 0.5
"""The area under ROC of a model that tells nothing."""


def in_lines(facts: dict[str, Any]) -> list[str]:
    """Returns what `annotate learn` found as lines of text; see `curation.annotation.level_model.stage.learn`."""
    if "note" in facts:
        return [facts["note"]]
    found, left = facts["accuracy"], facts["remaining"]
    lines = [
        f"{counted(facts['predicted'], 'images')} predicted, by {facts['learned']:,} with votes; "
        "on images that it has not seen (95 % intervals):",
        f"accuracy {_share(found['accuracy'])} of {facts['decided']:,} decided; always the most frequent level "
        f"{_share(found['baseline_accuracy'])}; two people agree {_share(found['agreement'])}",
        f"mean error {_number(found['mean_error'])} levels; always the most frequent level "
        f"{_number(found['baseline_error'])}",
        f"Level 5 or not: area under ROC {_number(found['level5_auc'])}; Brier score {_number(found['level5_brier'])}, "
        f"without the model {_number(found['level5_brier_baseline'])}; calibration error "
        f"{_number(found['level5_ece'])}",
        f"Level 5 among the {counted(left['images'], 'images')} not decided: about {left['level5']:,} "
        f"({left['low']:,} to {left['high']:,}), if voted and other images of one predicted chance are alike",
    ]
    area = found["level5_auc"]
    if area is None or area[1] <= CHANCE:
        lines.append("it does not tell Level 5 better than chance yet: until it does, vote in random order")
    if left["outside"] > 0:
        lines.append(
            f"{left['outside']:.1%} of them have a lower or higher chance than any voted image: for these the number "
            "rests on the model alone; votes in random order would tell"
        )
    return lines


def _share(interval: list[float] | None) -> str:
    if interval is None:
        return "unknown"
    estimate, low, high = interval
    return f"{estimate:.1%} ({low:.1%} to {high:.1%})"


def _number(interval: list[float] | None) -> str:
    if interval is None:
        return "unknown"
    estimate, low, high = interval
    return f"{estimate:.2f} ({low:.2f} to {high:.2f})"
