"""Faces: how many, how much of the picture they cover, and where they are."""

import functools
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from curation.backends import mtcnn
from curation.images import fit
from curation.signals.base import Row, Scores, Signal, SignalError, SignalParams


class FacesParams(SignalParams):
    """Parameters of the face detector."""

    backend: Literal["mtcnn"] = "mtcnn"
    side: int = Field(640, ge=160, le=1280, description="long side in pixels at which faces are looked for")
    min_face: int = Field(32, ge=12, le=640, description="smallest face in pixels at that side")
    threshold: float = Field(0.95, ge=0.5, lt=1, description="probability above which a box is a face")


class Faces(Signal):
    """Faces by MTCNN, which finds the frontal and the half-turned, not profiles and backs of heads.

    Columns:
        face_count: number of faces of at least `min_face` pixels in the picture scaled to `side`.
        face_area_share: area of the union of the boxes by the area of the picture, 0..1.
        face_boxes: for each face, the likeliest first, [x0, y0, x1, y1, probability]; x and y as shares of
            width and height, 0..1 from the left and the top edge; to 4 decimals.
    """

    name: ClassVar[str] = "faces"
    version: ClassVar[int] = 1
    side: ClassVar[int | None] = 640
    cost: ClassVar[float] = 30.0
    columns: ClassVar[dict[str, pa.DataType]] = {
        "face_count": pa.int16(),
        "face_area_share": pa.float32(),
        "face_boxes": pa.list_(pa.list_(pa.float32())),
    }

    Params: ClassVar[type[SignalParams]] = FacesParams
    params: FacesParams

    @classmethod
    def models(cls, params: SignalParams) -> dict[str, str]:
        """See Signal."""
        return mtcnn.weight_digests()

    def score(self, rows: Sequence[Row]) -> list[Scores | SignalError]:
        """See Signal."""
        side = self.params.side
        pictures = []
        for row in rows:
            assert row.picture is not None
            pictures.append(fit(row.picture.bgr(side), side))
        found = _detector(self.params.min_face, self.params.threshold).detect(pictures)
        return [_columns(boxes, *image.shape[:2]) for boxes, image in zip(found, pictures, strict=True)]


@functools.lru_cache(maxsize=1)
def _detector(min_face: int, threshold: float) -> mtcnn.Mtcnn:
    """Built when first needed and kept for the life of the process."""
    return mtcnn.Mtcnn(min_face=min_face, threshold=(0.6, 0.7, threshold))


def _columns(boxes: np.ndarray, height: int, width: int) -> Scores:
    shares = boxes / np.array([width, height, width, height, 1], np.float32)
    return {
        "face_count": len(boxes),
        "face_area_share": union_area(shares[:, :4]),
        "face_boxes": [[round(value, 4) for value in box] for box in shares.tolist()],
    }


def union_area(boxes: np.ndarray) -> float:
    """Area that boxes (n, 4) of x0, y0, x1, y1 cover together, each spot counted once."""
    x, y = np.unique(boxes[:, [0, 2]]), np.unique(boxes[:, [1, 3]])
    covered = np.zeros((max(0, len(y) - 1), max(0, len(x) - 1)), np.bool_)
    for x0, y0, x1, y1 in boxes:
        columns, rows = np.searchsorted(x, [x0, x1]), np.searchsorted(y, [y0, y1])
        covered[rows[0] : rows[1], columns[0] : columns[1]] = True
    return float(np.diff(y) @ covered @ np.diff(x)) if len(boxes) else 0.0
