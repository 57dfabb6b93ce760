"""Image classification by any checkpoint folder of Hugging Face transformers.

Only JSON and safetensors are read: no pickle, no code that comes with a checkpoint, nothing from a hub. transformers
fills what a checkpoint lacks with random numbers; here that is an error.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from curation.backends import device
from curation.errors import UserError, in_one_line
from curation.images import middle

if TYPE_CHECKING:
    import torch

WEIGHTS = "model.safetensors"
ELONGATED = 16
"""Of a picture this many times as long as wide, or more, the middle is looked at: a processor that scales the short
side to its size would make a thread of pixels into gigabytes."""
LISTED = 20
"""Files that an error names at most."""


class Classifier:
    """One checkpoint: what it says of itself, whether it is whole, and its probabilities.

    Args:
        key: the recipe's key that names it, for errors.
        folder: the checkpoint.
    """

    def __init__(self, key: str, folder: Path) -> None:
        self.key, self.folder = key, folder
        self._model: Any = None

    @cached_property
    def files(self) -> dict[str, Path]:
        """The files that are read, by name: a single safetensors file, or an index and the files that it names.

        Raises:
            UserError: one is missing; or the weights are a pickle, which may hold any code and is not opened.
        """
        if not self.folder.is_dir():
            raise UserError(f"{self.key}: {self.folder} is a file; expected the folder of a checkpoint")
        names, config = ["config.json"], self._json("config.json")
        if "pretrained_cfg" not in config:  # a timm model's says there how pictures are prepared
            names.append("preprocessor_config.json")
        elif ":" in str(config.get("architecture")):  # timm would look for it on a hub
            raise UserError(
                f"{self.key}: {self.folder}/config.json: expected timm's name of an architecture, found "
                f"{config['architecture']}"
            )
        if not (self.folder / WEIGHTS).is_file() and (self.folder / f"{WEIGHTS}.index.json").is_file():
            parts = self._json(f"{WEIGHTS}.index.json").get("weight_map")
            if not isinstance(parts, dict) or any(Path(str(part)).name != part for part in parts.values()):
                raise UserError(f"{self.key}: {self.folder / WEIGHTS}.index.json: expected a weight_map of file names")
            names += [f"{WEIGHTS}.index.json", *sorted(set(parts.values()))]
        else:
            names.append(WEIGHTS)
        missing = next((name for name in names if not (self.folder / name).is_file()), None)
        if missing == WEIGHTS and (pickles := sorted(p.name for p in self.folder.glob("*.bin"))):
            raise UserError(
                f"{self.key}: {self.folder} has no {WEIGHTS} but {pickles[0]}, a pickle, which is not opened; "
                "convert it to safetensors where you trust it (`model.save_pretrained(FOLDER)` in transformers)"
            )
        if missing:
            there = ", ".join(sorted(p.name for p in self.folder.iterdir())[:LISTED]) or "nothing"
            raise UserError(f"{self.key}: {self.folder} has no {missing}; found {there}")
        return {name: self.folder / name for name in names}

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The labels in the order of the model's outputs; a name may stand twice.

        Raises:
            UserError: there are no classes to choose from.
        """
        path = self.folder / "config.json"
        found = tuple(str(self._config.id2label[i]) for i in sorted(self._config.id2label))
        if self._config.problem_type == "regression" or (len(found) < 2 and self.exclusive):
            raise UserError(
                f"{self.key}: {path}: expected two labels or more, found {len(found)} "
                f"(problem_type {self._config.problem_type})"
            )
        return found

    @property
    def exclusive(self) -> bool:
        """Whether a picture has one label only: probabilities then add up to 1."""
        return bool(self._config.problem_type != "multi_label_classification")

    @cached_property
    def side(self) -> int:
        """Long side in pixels that a picture should have: thrice what the checkpoint's processor makes of it.

        Of a picture up to thrice as long as wide nothing is then scaled up that need not be.
        """
        return 3 * max(self._blank.shape[-2:])

    def check(self) -> None:
        """Puts the model together with tensors of the shapes in the files, and shows it a blank; reads no weights.

        Raises:
            UserError: the folder is no checkpoint of an image classifier, or its parts do not fit each other.
        """
        import torch
        from safetensors import SafetensorError, safe_open

        tensors: dict[str, torch.Tensor] = {}
        for path in self._weights:
            try:
                with safe_open(path, "pt") as file:  # one number stands for a tensor of any shape: it takes no memory
                    tensors |= {n: torch.zeros(()).expand(file.get_slice(n).get_shape()) for n in file.keys()}  # noqa: SIM118
            except SafetensorError as error:
                raise UserError(f"{self.key}: {path} is no safetensors file: {in_one_line(error)}") from None
        model, wanted = self._build(tensors, torch.float32), (1, len(self.labels))
        wanting = "a model that takes what its image processor makes"
        with self._explained(self.files["config.json"], wanting), torch.inference_mode():
            found = tuple(model(pixel_values=self._blank).logits.shape)
        if found != wanted:
            raise UserError(f"{self.key}: {self.folder}: expected {wanted[1]} outputs by config.json, found {found}")

    def load(self) -> None:
        """Loads the weights: in float32 on a CPU, in bfloat16 on a GPU. Raises UserError as `check`."""
        import torch
        from safetensors.torch import load_file

        where = device()
        tensors: dict[str, torch.Tensor] = {}
        for path in self._weights:
            tensors |= load_file(path)
        dtype = torch.bfloat16 if where == "cuda" else torch.float32
        self._model = self._build(tensors, dtype).to(where).requires_grad_(False)

    def probabilities(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Probability of each label: softmax, or sigmoid where labels do not exclude each other.

        On a CPU one picture at a time, so that its numbers do not depend on what it is batched with.

        Args:
            images: uint8 (H, W, 3), channels B, G, R.

        Returns:
            float32 (n, labels), 0..1; NaN where the model gives NaN.
        """
        import torch

        logits = []
        step = len(images) if self._model.device.type == "cuda" else 1
        with torch.inference_mode():
            for i in range(0, len(images), step or 1):
                pixels = self._prepare(images[i : i + step]).to(self._model.device, self._model.dtype)
                logits.append(self._model(pixel_values=pixels).logits.float())
            if not logits:
                return np.zeros((0, len(self.labels)), np.float32)
            whole = torch.cat(logits)
            found = torch.softmax(whole, 1) if self.exclusive else torch.sigmoid(whole)
        return np.asarray(found.cpu().numpy())

    @property
    def _weights(self) -> list[Path]:
        return [path for name, path in self.files.items() if name.endswith(".safetensors")]

    @cached_property
    def _config(self) -> Any:
        from transformers import AutoConfig

        path = self.files["config.json"]
        with self._explained(path, "a model's configuration"):
            return AutoConfig.from_pretrained(self.folder, local_files_only=True, trust_remote_code=False)

    @cached_property
    def _processor(self) -> Any:
        from transformers import AutoImageProcessor

        return AutoImageProcessor.from_pretrained(self.folder, local_files_only=True, trust_remote_code=False)

    @cached_property
    def _blank(self) -> "torch.Tensor":
        """What the model would see of a black picture."""
        path = self.files.get("preprocessor_config.json", self.files["config.json"])
        with self._explained(path, "an image processor's configuration"):
            return self._prepare([np.zeros((64, 64, 3), np.uint8)])

    def _build(self, tensors: "Mapping[str, torch.Tensor]", dtype: "torch.dtype") -> Any:
        """The model of these tensors. That transformers itself judges them covers its renaming of old checkpoints."""
        import torch
        from transformers import AutoModelForImageClassification

        path = self.files["config.json"]
        with self._explained(path, "an image classifier's configuration"):
            with torch.device("meta"):
                kind = type(AutoModelForImageClassification.from_config(self._config, trust_remote_code=False))
            model, found = kind.from_pretrained(
                None,
                config=self._config,
                state_dict=dict(tensors),
                dtype=dtype,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        weights = self._weights[0] if len(self._weights) == 1 else self.folder
        for name, has, wants in sorted(found["mismatched_keys"]):
            raise UserError(f"{self.key}: {weights}: {name}: expected {list(wants)} by config.json, found {list(has)}")
        if lacking := sorted(found["missing_keys"]):
            more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
            raise UserError(f"{self.key}: {weights}: expected the tensor {lacking[0]}{more}, found none")
        return model

    def _prepare(self, images: Sequence[np.ndarray]) -> "torch.Tensor":
        """What the model sees: float32 (n, 3, H, W), as the checkpoint's own processor makes it."""
        pictures = [Image.fromarray(middle(image, ELONGATED)[:, :, ::-1]) for image in images]
        return self._processor(pictures, return_tensors="pt")["pixel_values"]

    def _json(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}  # said with the other files
        except (OSError, ValueError) as error:
            raise UserError(f"{self.key}: {path} is no JSON: {in_one_line(error)}") from None
        if not isinstance(found, dict):
            raise UserError(f"{self.key}: {path}: expected a JSON object, found {type(found).__name__}")
        return found

    @contextmanager
    def _explained(self, path: Path, wanted: str) -> Iterator[None]:
        """Turns what transformers raises, which is nearly anything, into one line; keeps it from printing."""
        from transformers.utils import logging

        verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
        logging.set_verbosity(logging.CRITICAL)
        logging.disable_progress_bar()
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"{self.key}: {path}: expected {wanted}: {in_one_line(error)}") from None
        finally:
            logging.set_verbosity(verbosity)
            if bars:
                logging.enable_progress_bar()
