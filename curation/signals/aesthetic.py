"""An aesthetic score. Offline there is no honest aesthetic model; `photo_stats` says in its name what it is."""

from typing import Any, ClassVar, Literal

import pyarrow as pa

from curation.signals.base import PerImage, Row, Scores, SignalParams


class AestheticParams(SignalParams):
    """Parameters of the aesthetic score."""

    backend: Literal["photo_stats"] = "photo_stats"


class Aesthetic(PerImage):
    """A score from 0 (poor) to 10 (fine).

    Backend `photo_stats`: a fixed mean of classical photo statistics, read from the signal `photo`. It finds dull,
    flat, blurred or badly exposed pictures; it knows nothing of composition or subject, and correlates weakly with
    what people like.
    """

    name: ClassVar[str] = "aesthetic"
    version: ClassVar[int] = 1
    side: ClassVar[int | None] = None
    cost: ClassVar[float] = 0.1
    needs: ClassVar[tuple[str, ...]] = ("photo",)
    columns: ClassVar[dict[str, pa.DataType]] = {"aesthetic": pa.float32()}

    Params: ClassVar[type[SignalParams]] = AestheticParams

    def score_one(self, row: Row) -> Scores:
        """See Signal."""
        return {"aesthetic": photo_stats(row.signals)}


def photo_stats(photo: Any) -> float:
    """Mean of six statistics, each brought to 0..1, times 10, less what is clipped.

    Args:
        photo: the columns of signal `photo`.
    """
    parts = (
        (_ramp(photo["sharpness"], 5, 40), 2.0),
        (_ramp(photo["colourfulness"], 5, 60), 1.5),
        (_ramp(photo["contrast"], 0.05, 0.22), 1.5),
        (_ramp(photo["entropy"], 4, 7.5), 1.5),
        (1 - min(1.0, abs(photo["brightness"] - 0.48) / 0.4), 1.0),
        (1 - _ramp(photo["border_share"], 0.02, 0.4), 0.5),
    )
    mean = sum(value * weight for value, weight in parts) / sum(weight for _, weight in parts)
    clipped = _ramp(photo["clip_low"] + photo["clip_high"], 0.1, 0.8)
    return 10 * mean * (1 - 0.5 * clipped)


def _ramp(value: float, low: float, high: float) -> float:
    """0 up to `low`, 1 from `high` on, straight between."""
    return min(1.0, max(0.0, (value - low) / (high - low)))
