"""How warm the colours of a picture are."""

import pyarrow as pa

from curation.signals.base import PerImage, Row, Scores


class Warmth(PerImage):
    """Mean of red less mean of blue.

    Columns:
        warmth: -1 (all blue) to 1 (all red).
    """

    name = "warmth"
    version = 1
    side = 256
    cost = 3.0
    columns = {"warmth": pa.float32()}

    def score_one(self, row: Row) -> Scores:
        """See PerImage."""
        assert row.picture is not None
        blue, _green, red = row.picture.bgr(256).reshape(-1, 3).mean(0) / 255
        return {"warmth": float(red - blue)}
