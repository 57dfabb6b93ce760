"""Recipes by name: published filter pipelines that `curate init --preset NAME` writes in place of the general one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from curation.errors import UserError, nearest


@dataclass(frozen=True)
class Preset:
    """The filters of a published pipeline. Each threshold's source stands on its line of the template."""

    template: str
    """The file in `pipelines/recipes` with the sections `signals` and `select`."""
    side: int
    """Side in pixels of the square that is trained at; it gives the buckets' area and the quality phase's min_side."""
    marks: Mapping[str, object] = field(default_factory=dict)
    """Values of the template's marks."""


def _web(stage: str, side: int, min_side: int, watermark: float, aesthetic: float) -> Preset:
    """Returns the preset of one column of Table 5 of Mage-Flow, arXiv:2607.19064."""
    marks = {
        "STAGE": stage,
        "MIN_SIDE": min_side,
        "AREA": side * side,
        "AREA_SAYS": f"{side}²",
        "WATERMARK": watermark,
        "AESTHETIC": aesthetic,
    }
    return Preset("preset-web.yaml", side, marks)


PRESETS: Mapping[str, Preset] = {
    "kolors": Preset("preset-kolors.yaml", 1024),
    "web-256": _web("256²", 256, 128, 0.5, 4.5),
    "web-512": _web("512²", 512, 256, 0.3, 5.5),
    "web-1024": _web("1024²", 1024, 512, 0.1, 6.0),
    "sft": _web("1024², supervised fine-tuning", 1024, 512, 0.05, 6.5),
}
"""The presets by name."""


def find_preset(name: str) -> Preset:
    """Returns a preset. Raises UserError with the nearest name if there is none of that name."""
    if name not in PRESETS:
        raise UserError(f'there is no preset "{name}"{nearest(name, PRESETS)}', "--preset")
    return PRESETS[name]


def with_filters(recipe: str, filters: str) -> str:
    """Returns a template of a recipe with other sections `signals` and `select`, which stand before `captions`."""
    head, _, rest = recipe.partition("\nsignals:")
    tail = re.search(r"^captions:", rest, re.MULTILINE)
    assert tail is not None
    return f"{head}\n{filters}\n{rest[tail.start() :]}"
