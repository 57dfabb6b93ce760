"""Detects faces by YuNet, one small convolutional network, which OpenCV runs (`cv2.FaceDetectorYN`) on the CPU.

Wu, Peng and Yu, "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 20(5), 2023.
Every wheel of OpenCV contains the program, but none the model, which is a file that the recipe names.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from curation.errors import UserError

NUMBERS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
"""The network's outputs and the numbers of each per grid cell; OpenCV reads them without checking their shapes."""
STRIDES = (8, 16, 32)
"""Side in pixels of the cells of the network's three grids; an output is named by kind and stride, as `bbox_16`."""
LARGEST = 320
"""Long side in pixels up to which a face of any size is found, since the network was trained on faces of 10 to 300
pixels. Of 77 faces that fill a picture of 640, one pass finds 54, and two passes find 75."""
LEAST = 64
"""Pixels of each side below which a picture is padded with black: on a grid one cell wide or high, the depthwise
convolution of OpenCV 4.14 reads uninitialised memory, and the result depends on the previous picture."""


class YuNet:
    """The YuNet face detector.

    Args:
        model: the ONNX file; see `check`.
        min_face: longer side in pixels of the smallest face that is returned.
        threshold: score, 0..1, from which a box counts as a face.
        nms: overlap of two boxes, as intersection over union, above which the weaker one is removed.
    """

    def __init__(self, model: Path, min_face: float = 12, threshold: float = 0.8, nms: float = 0.3) -> None:
        self.min_face, self.nms = min_face, nms
        self.net = cv2.FaceDetectorYN.create(str(model), "", (LEAST, LEAST), threshold, nms)

    def detect(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Finds the faces in a micro-batch, one image after the other.

        Args:
            images: uint8, (H, W, 3), channels B, G, R; sizes may differ.

        Returns:
            For each image float32 (n, 5), highest score first: x0, y0, x1, y1 in pixels, clipped to the
            image (0 and W are its outer edges), and the score.
        """
        return [self._detect(image) for image in images]

    def _detect(self, image: np.ndarray) -> np.ndarray:
        """Detects faces at full size and at halved sizes, as long as a face may be too large for the network."""
        height, width = image.shape[:2]
        looks = [self._look(image)]
        while max(image.shape[:2]) > LARGEST:
            image = cv2.resize(image, [max(1, n // 2) for n in image.shape[1::-1]], interpolation=cv2.INTER_LINEAR)
            ratio = np.array([width / image.shape[1], height / image.shape[0]] * 2 + [1], np.float32)
            looks.append(self._look(image) * ratio)
        boxes = np.concatenate(looks)
        boxes = boxes[(boxes[:, 2:4] - boxes[:, :2]).max(1, initial=0) >= self.min_face]
        sized = np.concatenate([boxes[:, :2], boxes[:, 2:4] - boxes[:, :2]], 1)
        kept = cv2.dnn.NMSBoxes(sized.tolist(), boxes[:, 4].tolist(), 0.0, self.nms)
        boxes = boxes[np.asarray(kept, int)].clip(0, np.array([width, height, width, height, 1], np.float32))
        return boxes[(boxes[:, 2:4] - boxes[:, :2] >= 1).all(1)]

    def _look(self, image: np.ndarray) -> np.ndarray:
        """Returns boxes and scores (n, 5) of one pass over the picture at its given size."""
        bottom, right = (max(0, LEAST - n) for n in image.shape[:2])
        image = cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_CONSTANT)
        self.net.setInputSize(image.shape[1::-1])
        faces = self.net.detect(image)[1]  # x, y, width, height, five points of the face, score
        if faces is None:
            return np.zeros((0, 5), np.float32)
        return np.concatenate([faces[:, :2], faces[:, :2] + faces[:, 2:4], faces[:, 14:]], 1)


def check(key: str, model: Path) -> None:
    """Runs the network on a gray picture and checks its outputs, which OpenCV's own reader does not check.

    Args:
        key: the recipe's key that names the file, for the error message.
        model: the ONNX file.

    Raises:
        UserError: the file is no ONNX model that OpenCV can run, or its outputs are not those of YuNet.
    """
    if not model.is_file():
        raise UserError(f"{model} is a folder; expected YuNet's ONNX file", key)
    try:
        with _quiet():
            net = cv2.dnn.readNetFromONNX(str(model))
    except cv2.error:  # its message is about its parser, and may hold the file's bytes
        raise UserError(f"{model} {_what_it_is(model)}; expected YuNet's ONNX file", key) from None
    try:
        with _quiet():
            _check_outputs(key, model, net)
            YuNet(model).detect([np.full((LEAST, LEAST, 3), 128, np.uint8)])
    except cv2.error as error:
        raise UserError(f"OpenCV cannot run {model} as YuNet: {_message(error)}", key) from None


def _check_outputs(key: str, model: Path, net: cv2.dnn.Net) -> None:
    """Raises UserError unless the outputs have YuNet's names and shapes and hold finite numbers."""
    width, height = 3 * LEAST, 2 * LEAST
    expected = {f"{kind}_{s}": (1, height * width // s**2, n) for kind, n in NUMBERS.items() for s in STRIDES}
    names = net.getUnconnectedOutLayersNames()
    if set(names) != set(expected):
        raise UserError(
            f"{model} gives {', '.join(sorted(names)) or 'nothing'}; "
            f"expected YuNet's {', '.join(sorted(expected))} (as since its release of March 2023)",
            key,
        )
    net.setInput(cv2.dnn.blobFromImage(np.full((height, width, 3), 128, np.uint8)))
    for (name, shape), output in zip(expected.items(), net.forward(list(expected)), strict=True):
        if output.shape != shape:
            raise UserError(
                f"{model}: {name} has the shape {output.shape} for a picture of {width} x {height}; expected {shape}",
                key,
            )
        if not np.isfinite(output).all():
            raise UserError(f"{model}: {name} holds NaN or infinity for a gray picture; expected finite numbers", key)


def _what_it_is(model: Path) -> str:
    """Returns in words what a file is instead of a model: often a web page or a Git LFS pointer, fetched by mistake."""
    with model.open("rb") as file:
        head = file.read(200)
    if not head:
        return "is empty"
    if head.startswith(b"version https://git-lfs"):
        return "is no ONNX model but a pointer of Git LFS to one; fetch it by `git lfs pull`"
    if head.lstrip()[:1] == b"<":
        return "is no ONNX model but a web page"
    return "is no ONNX model that OpenCV can read"


def _message(error: cv2.error) -> str:
    """Returns OpenCV's error message without the place in its source."""
    return " ".join(error.err.split())


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences OpenCV, which also prints on stderr, in many lines, that it cannot read or run a network."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
