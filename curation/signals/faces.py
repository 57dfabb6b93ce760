"""The signal `faces`: the number of faces, the share of the image that they cover, and their boxes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import pyarrow as pa
from pydantic import Field

from curation.errors import RowError
from curation.images import fit
from curation.models.checkpoints import Models, Origin
from curation.models.device import device
from curation.models.faces import mtcnn, yunet
from curation.models.faces.mtcnn_weights import check_weights, weight_files
from curation.models.plugin import PluginParams
from curation.signals.base import Row, Scores, Signal


class FacesParams(PluginParams):
    """Parameters of every face detector."""

    side: int = Field(640, ge=160, le=1280, description="long side in pixels at which faces are looked for")


class Detector(Protocol):
    """A face detector that a backend loads."""

    def detect(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns for each image (uint8 BGR) its faces, float32 (n, 5): x0, y0, x1, y1 in pixels, probability.

        The most probable face comes first. Boxes lie within the image.
        """


class _Faces(Signal):
    """Base of the backends, each of which loads a detector that gives boxes.

    Columns:
        face_count: number of faces of at least `min_face` pixels in the image scaled to `side`.
        face_area_share: area of the union of the boxes over the area of the image, 0..1.
        face_boxes: for each face, the most probable first, [x0, y0, x1, y1, probability]; x and y as shares of
            width and height, 0..1 from the left and the top edge, rounded to 4 decimals.
    """

    name = "faces"
    columns = {
        "face_count": pa.int16(),
        "face_area_share": pa.float32(),
        "face_boxes": pa.list_(pa.list_(pa.float32())),
    }
    Params: type[PluginParams] = FacesParams
    params: FacesParams
    detector: Detector
    """The detector, set by `load`."""

    def __init__(self, params: FacesParams, models: Models | None = None) -> None:
        super().__init__(params, models)
        self.side = params.side

    def score(self, rows: Sequence[Row]) -> list[Scores | RowError]:
        """See Signal."""
        pictures = [
            _fit(row.picture.bgr(self.params.side), self.params.side) for row in rows if row.picture is not None
        ]
        detected = self.detector.detect(pictures)
        return [_columns(boxes, *picture.shape[:2]) for boxes, picture in zip(detected, pictures, strict=True)]


class MtcnnParams(FacesParams):
    """Parameters of MTCNN."""

    min_face: int = Field(32, ge=12, le=640, description="smallest face in pixels at that side")
    threshold: float = Field(0.95, ge=0.5, lt=1, description="probability above which a box is a face")


class Faces(_Faces):
    """Faces by MTCNN. It finds nine of ten faces tilted by up to 30 degrees: frontal, half turned and some profiles.

    It misses half of the faces tilted by 60 degrees, nearly all that lie on their side or are upside down, and heads
    that look away or down. It counts a drawn face if it is drawn like a real one.
    """

    backend = "mtcnn"
    version = 2
    cost = 22.0
    origins = (Origin("MTCNN's P-, R- and O-Net, in the package of that name", "MIT", "pip install mtcnn==1.0.0"),)
    Params = MtcnnParams
    params: MtcnnParams

    def files(self) -> dict[str, Path]:
        """See Signal."""
        return weight_files()

    def check(self) -> None:
        """See Signal."""
        check_weights()

    def load(self) -> None:
        """See Signal."""
        params = self.params
        self.detector = mtcnn.Mtcnn(params.min_face, (0.7, 0.7, params.threshold), device())


class YuNetParams(FacesParams):
    """Parameters of YuNet."""

    model: str = Field(
        "yunet/face_detection_yunet_2023mar.onnx",
        description="its ONNX file, below the folder of models; of March 2023 or later",
    )
    min_face: int = Field(12, ge=8, le=640, description="smallest face in pixels at that side")
    threshold: float = Field(0.8, ge=0.1, lt=1, description="score from which a box is a face")
    nms: float = Field(0.3, gt=0, lt=1, description="overlap of two boxes above which the weaker one goes")


class FacesByYuNet(_Faces):
    """Faces by YuNet, which finds small faces at no more cost, and half of those upside down.

    It misses half of the faces tilted by 45 degrees, and nearly all that lie on their side. It may count the face of a
    dog. It runs on the CPU, one image at a time.
    """

    backend = "yunet"
    version = 1
    cost = 30.0
    origins = (
        Origin(
            "YuNet of OpenCV's model zoo",
            "MIT",
            "hf download opencv/face_detection_yunet face_detection_yunet_2023mar.onnx --local-dir MODELS/yunet",
        ),
    )
    Params = YuNetParams
    params: YuNetParams

    def files(self) -> dict[str, Path]:
        """See Signal."""
        path = self.models.find_file("signals.faces.model", self.params.model)
        return {path.name: path}

    def check(self) -> None:
        """See Signal."""
        for path in self.files().values():
            yunet.check("signals.faces.model", path)

    def load(self) -> None:
        """See Signal."""
        params = self.params
        (path,) = self.files().values()
        self.detector = yunet.YuNet(path, params.min_face, params.threshold, params.nms)


def _fit(pixels: np.ndarray, side: int) -> np.ndarray:
    """Scales down as `fit` does, but bilinearly for a factor of less than 2, which takes a seventh of the time."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if not 0.5 < scale < 1:
        return fit(pixels, side)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)


def _columns(boxes: np.ndarray, height: int, width: int) -> Scores:
    shares = boxes / np.array([width, height, width, height, 1], np.float32)
    return {
        "face_count": len(boxes),
        "face_area_share": union_area(shares[:, :4]),
        "face_boxes": [[round(value, 4) for value in box] for box in shares.tolist()],
    }


def union_area(boxes: np.ndarray) -> float:
    """Returns the area of the union of boxes, (n, 4) of x0, y0, x1, y1, in squares of their unit."""
    x, y = np.unique(boxes[:, [0, 2]]), np.unique(boxes[:, [1, 3]])
    covered = np.zeros((max(0, len(y) - 1), max(0, len(x) - 1)), np.bool_)
    for x0, y0, x1, y1 in boxes:
        columns, rows = np.searchsorted(x, [x0, x1]), np.searchsorted(y, [y0, y1])
        covered[rows[0] : rows[1], columns[0] : columns[1]] = True
    return float(np.diff(y) @ covered @ np.diff(x)) if len(boxes) else 0.0
