"""Detects and reads text by PaddleOCR's models in local folders.

PaddleOCR is installed, with curate, in an environment of its own, since PaddleX, on which it is built, pins packages
that other parts need in newer versions. So it is imported only where it is used, and only for the models' output: a
detector's boxes, and a recogniser's text of one line. Nothing is downloaded, as every model is given by its folder.
"""

import importlib.metadata
import importlib.util
import os
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ruamel.yaml.error import YAMLError

from curation.errors import UserError, in_one_line
from curation.models.device import device
from curation.recipe.yaml_text import read_yaml

Engine = Literal["onnxruntime", "paddle"]

OLDEST = (3, 5)
"""The first release of PaddleOCR that runs ONNX files."""
CONFIG = "inference.yml"
WEIGHTS: Mapping[Engine, tuple[tuple[str, ...], ...]] = {
    "onnxruntime": (("inference.onnx",),),
    "paddle": (("inference.json", "inference.pdmodel"), ("inference.pdiparams",)),
}
"""Weight files beside CONFIG; of several names the first that exists. PaddlePaddle's .pdparams, pickles, are unread."""
BESIDES = 2
"""Number of a recogniser's outputs beside its list of characters: the CTC blank, and the space."""
CELL = 32
"""The detector's input height and width in pixels are multiples of this."""
_ANY = importlib.metadata.DistributionFinder.Context()
_FRACTION = re.compile(r"\s*[\d.]+\s*(/\s*[\d.]+\s*)?")


class PaddleOcr:
    """A text detector and a text recogniser of PaddleOCR.

    Args:
        key: the recipe's key of the signal, for error messages.
        engine: the runtime that runs the models.
        detection: the detector's folder.
        recognition: the recogniser's folder.
    """

    def __init__(self, key: str, engine: Engine, detection: Path, recognition: Path) -> None:
        self.key, self.engine = key, engine
        self.detection = Detection(f"{key}.detection", detection, engine)
        self.recognition = Recognition(f"{key}.recognition", recognition, engine)
        self._side = 0
        self._detector: Any = None
        self._recogniser: Any = None

    def files(self) -> dict[str, Path]:
        """Returns the files that are read, by name. Raises UserError if one is missing."""
        return self.detection.files() | self.recognition.files()

    def check(self) -> None:
        """Checks that the models can be used, without importing PaddleOCR itself, which takes long.

        Raises:
            UserError: PaddleOCR is missing or too old, or a folder does not hold the kind of model that it should.
        """
        _find_packages(self.key, self.engine)
        self.detection.check()
        self.recognition.check()

    def load(self, side: int) -> None:
        """Loads the models, on a GPU if there is one, else on one CPU thread.

        Args:
            side: long side in pixels of the copy on which text is detected.

        Raises:
            UserError: PaddleOCR cannot load the models.
        """
        self._side = side
        os.environ["PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK"] = "True"  # it would look for its hubs, to no purpose
        sys.meta_path.append(_HeadlessOpenCV())
        where = "gpu:0" if device() == "cuda" and _sees_gpu(self.engine) else "cpu"
        try:
            import paddleocr

            self._detector = paddleocr.TextDetection(
                limit_side_len=side, limit_type="max", **self.detection.arguments(where)
            )
            self._recogniser = paddleocr.TextRecognition(**self.recognition.arguments(where))
        except Exception as error:  # PaddleX raises nearly anything
            raise UserError(f"PaddleOCR does not load its models: {in_one_line(error)}", self.key) from None

    def find(self, pixels: np.ndarray) -> np.ndarray:
        """Returns boxes around lines of text: float32 (n, 4, 2), corners in pixels, clockwise from the top left.

        Args:
            pixels: uint8 (H, W, 3), channels B, G, R. No text is found if the short side of the copy on which it is
                detected would be 16 pixels or less.
        """
        height, width = pixels.shape[:2]
        if min(height, width) * min(1.0, self._side / max(height, width)) <= CELL / 2:
            return np.zeros((0, 4, 2), np.float32)
        polygons = self._detector.predict(np.ascontiguousarray(pixels))[0]["dt_polys"]
        return np.asarray(polygons, np.float32).reshape(-1, 4, 2)

    def recognise(self, lines: Sequence[np.ndarray]) -> list[tuple[str, float]]:
        """Returns the text and mean character probability (0 without text) of pictures of one horizontal line each.

        Lines are read one at a time, since padding them to a common width would change what is read.
        """
        results = self._recogniser.predict([np.ascontiguousarray(line) for line in lines], batch_size=1)
        return [(line["rec_text"].strip(), float(line["rec_score"])) for line in results]


class _Model(ABC):
    """The folder of one model as PaddleOCR exports it: weights, and a configuration file that describes them."""

    decoder: str
    """The name of the postprocessing step that CONFIG must give."""
    blank: tuple[int, int]
    """Height and width in pixels of the blank picture on which the model is tried."""

    def __init__(self, key: str, folder: Path, engine: Engine) -> None:
        self.key, self.folder, self.engine = key, folder, engine

    def files(self) -> dict[str, Path]:
        """See PaddleOcr."""
        if not self.folder.is_dir():
            raise UserError(f"{self.folder} is a file; expected the folder of a model of PaddleOCR", self.key)
        present = sorted(path.name for path in self.folder.iterdir())
        files = {}
        for names in ((CONFIG,), *WEIGHTS[self.engine]):
            name = next((name for name in names if name in present), None)
            if name is None:
                raise UserError(
                    f"{self.folder} has no {' or '.join(names)}, which engine {self.engine} reads; "
                    f"found {', '.join(present[:20]) or 'nothing'}",
                    self.key,
                )
            files[f"{self.key.rpartition('.')[2]}/{name}"] = self.folder / name
        return files

    def arguments(self, where: str) -> dict[str, Any]:
        """Returns the arguments with which PaddleOCR loads the model on a device."""
        config: dict[str, Any]
        if self.engine == "onnxruntime":
            config = {"intra_op_num_threads": 1, "inter_op_num_threads": 1, "log_severity_level": 3}
            if where != "cpu":  # to try all algorithms would take seconds for each new shape, and there are many
                config["provider_options"] = [{"cudnn_conv_algo_search": "HEURISTIC"}, {}]  # CUDA's and the CPU's
        else:  # without oneDNN, on which PaddlePaddle 3.3 fails at these very models
            config = {"run_mode": "paddle", "cpu_threads": 1}
        return {
            "model_name": self._section("Global").get("model_name"),
            "model_dir": str(self.folder),
            "engine": "onnxruntime" if self.engine == "onnxruntime" else "paddle_static",
            "engine_config": config,
            "device": where,
        }

    def check(self) -> None:
        """Checks that CONFIG describes such a model and that the weights' output fits it. Raises UserError if not."""
        name = self._section("Global").get("model_name")
        if not isinstance(name, str):
            raise UserError(f"{self._path}: expected Global.model_name, found {name!r}", self.key)
        decoder = self._section("PostProcess").get("name")
        if decoder != self.decoder:
            raise UserError(f"{self._path}: expected PostProcess.name {self.decoder}, found {decoder!r}", self.key)
        steps = self._section("PreProcess").get("transform_ops")
        if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
            raise UserError(f"{self._path}: expected PreProcess.transform_ops, a list of steps", self.key)
        for step in steps:
            scale = (step.get("NormalizeImage") or {}).get("scale")
            if isinstance(scale, str) and not _FRACTION.fullmatch(scale):  # PaddleX evaluates it as Python
                raise UserError(f"{self._path}: NormalizeImage.scale: expected a number, found {scale!r}", self.key)
        weights = list(self.files().values())[1:]
        try:
            shape = _run(self.engine, weights, np.zeros((1, 3, *self.blank), np.float32))
        except Exception as error:  # of either engine's many
            raise UserError(f"{weights[0]} does not run as a model: {in_one_line(error)}", self.key) from None
        if problem := self._misfit(shape):
            raise UserError(f"{weights[0]}: {problem}, found {list(shape)}", self.key)

    @abstractmethod
    def _misfit(self, shape: Sequence[int]) -> str | None:
        """Returns the expected output in words if an output of this shape does not fit; else None."""

    @property
    def _path(self) -> Path:
        return self.folder / CONFIG

    @cached_property
    def _config(self) -> Any:
        try:
            return read_yaml(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError, YAMLError) as error:
            raise UserError(f"{self._path} is no YAML: {in_one_line(error)}", self.key) from None

    def _section(self, name: str) -> dict[str, Any]:
        section = self._config.get(name) if isinstance(self._config, dict) else None
        if not isinstance(section, dict):
            raise UserError(f"{self._path}: expected a section {name}, found {type(section).__name__}", self.key)
        return section


class Detection(_Model):
    """A text detector (DBNet, arXiv 1911.08947): gives the probability of text at each pixel."""

    decoder = "DBPostProcess"
    blank = (2 * CELL, 10 * CELL)

    def _misfit(self, shape: Sequence[int]) -> str | None:
        return None if tuple(shape) == (1, 1, *self.blank) else f"expected an output of {[1, 1, *self.blank]}"


class Recognition(_Model):
    """A text recogniser with connectionist temporal classification: gives character probabilities for each column."""

    decoder = "CTCLabelDecode"
    blank = (48, 320)

    def _misfit(self, shape: Sequence[int]) -> str | None:
        characters = self._section("PostProcess").get("character_dict")
        classes = len(characters or []) + BESIDES
        fits = len(shape) == 3 and shape[2] == classes
        return None if fits else f"expected {classes} outputs by the characters in {CONFIG}"


class _HeadlessOpenCV(importlib.metadata.DistributionFinder):
    """Presents the headless OpenCV wheel, which has all that PaddleX uses, as the wheel that PaddleX asks for.

    PaddleX asks by name for the wheel that it pins, a version that decodes truncated JPEGs without an error.
    """

    def find_spec(self, *_: Any) -> None:
        """Finds no module; this finder only answers for distributions."""

    def find_distributions(self, context: Any = _ANY) -> list[importlib.metadata.Distribution]:
        """Returns the headless wheel's metadata if the other wheel is asked for by name, else nothing."""
        if context.name != "opencv-contrib-python":
            return []
        return list(importlib.metadata.distributions(name="opencv-python-headless"))


def _find_packages(key: str, engine: Engine) -> None:
    """Raises UserError if PaddleOCR or the engine is not installed, or PaddleOCR is too old."""
    if importlib.util.find_spec("paddleocr") is None:
        raise UserError(
            "paddleocr is not installed here; it wants an environment of its own: "
            "`make paddle`, or `uv pip install '.[paddle]'` into a new one",
            f"{key}.backend",
        )
    version = importlib.metadata.version("paddleocr")
    if tuple(int(n) for n in re.findall(r"\d+", version)[:2]) < OLDEST:
        raise UserError(f"expected paddleocr {'.'.join(map(str, OLDEST))} or later, found {version}", f"{key}.backend")
    if engine == "paddle" and importlib.util.find_spec("paddle") is None:
        raise UserError(
            "paddle is PaddlePaddle, which is not installed here; "
            "`uv pip install paddlepaddle`, or paddlepaddle-gpu where there is one",
            f"{key}.engine",
        )


def _sees_gpu(engine: Engine) -> bool:
    """Returns whether the installed engine was built with GPU support."""
    if engine == "onnxruntime":
        import onnxruntime

        return "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    import paddle

    return bool(paddle.device.is_compiled_with_cuda())


def _run(engine: Engine, weights: Sequence[Path], pixels: np.ndarray) -> Sequence[int]:
    """Runs a model with the engine alone, on the CPU, and returns the shape of its first output.

    Args:
        pixels: float32 (1, 3, H, W).
    """
    if engine == "onnxruntime":
        import onnxruntime

        session = onnxruntime.InferenceSession(weights[0], providers=["CPUExecutionProvider"])
        return tuple(session.run(None, {session.get_inputs()[0].name: pixels})[0].shape)
    from paddle import inference

    config = inference.Config(*map(str, weights))
    config.disable_glog_info()
    predictor = inference.create_predictor(config)
    taken = predictor.get_input_handle(predictor.get_input_names()[0])
    taken.reshape(pixels.shape)
    taken.copy_from_cpu(pixels)
    predictor.run()
    return tuple(predictor.get_output_handle(predictor.get_output_names()[0]).shape())
