"""Embeds images and texts in a common vector space by CLIP and SigLIP models of open_clip.

A checkpoint is a folder as published on the hub, with `open_clip_config.json` beside the weights, or a weight file
alone for one of open_clip's named architectures. Weights are read without running code from them.
"""

import importlib.util
import itertools
import logging
import re
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from curation.errors import UserError, in_one_line, nearest
from curation.images import middle
from curation.models.checkpoints import refusal
from curation.models.config_json import read_config
from curation.models.device import device

if TYPE_CHECKING:
    import torch


CONFIG = "open_clip_config.json"
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")
"""Endings of weight files, the preferred first."""
GPU_BATCH = 32
"""Number of images or texts that a GPU is given at once."""
STRIP = 4
"""Long side over short side above which only the middle of an image is embedded."""


@dataclass(frozen=True)
class ClipCheckpoint:
    """A model's architecture and weights, located without loading open_clip.

    Args:
        key: the recipe's section, for error messages, such as `signals.embedding`.
        model: open_clip's name of the architecture; None reads it from the folder's own configuration.
        path: the folder, or the weight file.

    Raises:
        UserError: from any property or method, in one line.
    """

    key: str
    model: str | None
    path: Path

    @cached_property
    def config(self) -> dict[str, Any]:
        """The architecture in open_clip's form: embed_dim, vision_cfg, text_cfg."""
        if self.model is not None:
            return _known_architecture(self.key, self.model)
        if self.path.is_file():
            wanted = "open_clip's name of their architecture, such as ViT-L-14-quickgelu"
            raise UserError(f"{self.path} is weights alone; add `model: NAME`, {wanted}", f"{self.key}.checkpoint")
        file = self.path / CONFIG
        if not file.is_file():
            wanted = "fetch it too, or add `model: NAME`, open_clip's name of the architecture"
            raise UserError(f"{self.path} has no {CONFIG}; {wanted}", f"{self.key}.checkpoint")
        try:
            config = self._own_config["model_cfg"]
            int(config["embed_dim"]), dict(config["vision_cfg"]), dict(config["text_cfg"])
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{file} is not open_clip's: model_cfg lacks its parts", f"{self.key}.checkpoint") from None
        return dict(config)

    @cached_property
    def _own_config(self) -> dict[str, Any]:
        """The configuration beside the weights."""
        return read_config(f"{self.key}.checkpoint", self.path / CONFIG)

    @property
    def width(self) -> int:
        """Dimension of an embedding."""
        return int(self.config["embed_dim"])

    @property
    def image_size(self) -> int:
        """Side in pixels of the model's input; the longer side if the input is not square."""
        size = self.config["vision_cfg"].get("image_size", 224)
        return int(max(size) if isinstance(size, list) else size)

    @property
    def weights(self) -> Path:
        """The weight file."""
        if self.path.is_file():
            return self.path
        for ending in WEIGHTS:
            candidates = sorted(f for f in self.path.iterdir() if f.suffix == ending)
            preferred = [f for f in candidates if f.stem.startswith("open_clip")] or candidates
            if len(preferred) == 1:
                return preferred[0]
            if preferred:
                raise UserError(
                    f"{self.path} holds {len(candidates)} files of weights; name one", f"{self.key}.checkpoint"
                )
        raise UserError(f"{self.path} holds no weights ({', '.join(WEIGHTS)})", f"{self.key}.checkpoint")

    def files(self) -> dict[str, Path]:
        """Returns the files that determine the embeddings, by name: the weights, and the configuration beside them."""
        config = self.path / CONFIG
        return {f.name: f for f in ([config] if config.is_file() else []) + [self.weights]}

    def check(self) -> None:
        """Raises UserError if the weights do not fit the architecture; names and shapes are compared, not values."""
        import torch

        _ = self.config  # raises a more specific error of its own
        with torch.device("meta"):
            model = self._build("meta", "fp32")
        self._fill(model, "cpu" if self.weights.suffix == ".safetensors" else "meta")

    def open(self, where: str) -> Any:
        """Returns the model with its weights on a device: in float32 on a CPU, in bfloat16 on a GPU."""
        import torch

        with torch.device(where):
            model = self._build(where, "fp32" if where == "cpu" else "bf16")
        self._fill(model, "cpu")
        return model.eval().requires_grad_(False)

    def text_files(self) -> dict[str, Path]:
        """Returns the tokenizer's files beside the weights, by name; only the embeddings of texts depend on them."""
        names = ("*token*.json", "vocab*", "merges.txt", "*.model", "*.spm", "special_tokens_map.json")
        files = {file for name in names for file in self.path.glob(name)} if self.path.is_dir() else set()
        return {file.name: file for file in sorted(files)}

    def tokenizer(self) -> Any:
        """Returns the model's tokenizer. Raises UserError if its files are not in the folder."""
        import open_clip

        try:
            return open_clip.get_tokenizer(self.name)
        except Exception as error:  # open_clip and transformers raise all kinds
            raise UserError(
                f"{self.path} has no tokenizer beside the weights, and texts are to be read; "
                f"fetch the whole folder and leave out `model` ({in_one_line(error)[:120]})",
                f"{self.key}.checkpoint",
            ) from None

    @property
    def name(self) -> str:
        """The model's name as open_clip's functions take it."""
        return self.model or f"local-dir:{self.path}"

    def _build(self, where: str, precision: str) -> Any:
        import open_clip

        options: dict[str, Any] = {"load_weights": False, "pretrained_text": False}
        if self.model is not None:
            options["force_preprocess_cfg"] = self._preprocessing()
        logging.disable(logging.WARNING)  # open_clip warns that no weights are loaded yet
        try:
            return open_clip.create_model(self.name, device=where, precision=precision, **options)
        except Exception as error:  # open_clip and timm raise all kinds
            raise UserError(f"open_clip cannot build {self.name}: {in_one_line(error)}", self.key) from None
        finally:
            logging.disable(logging.NOTSET)

    def _preprocessing(self) -> dict[str, Any]:
        """Returns the preprocessing settings: the folder's, or else those of the weights that open_clip lists first."""
        from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

        if (self.path / CONFIG).is_file():
            return dict(self._own_config.get("preprocess_cfg", {}))
        tags = list_pretrained_tags_by_model(self.model)
        known = get_pretrained_cfg(self.model, tags[0]) if tags else {}
        return {k: known[k] for k in ("mean", "std", "interpolation", "resize_mode") if k in known}

    def _fill(self, model: Any, where: str) -> None:
        from open_clip.factory import load_checkpoint

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns that nothing is copied on the meta device
                load_checkpoint(model, str(self.weights), strict=True, weights_only=True, device=where)
        except Exception as error:  # a broken file raises as many kinds as there are formats
            raise UserError(f"{self.weights} {self._unfit(error, model, where)}", f"{self.key}.checkpoint") from None

    def _unfit(self, error: Exception, model: Any, where: str) -> str:
        """Returns the reason why weights cannot be loaded, in a user's terms: the first thing that does not fit."""
        text = " ".join(str(error).split())
        if match := re.search(r"size mismatch for (\S+): .*?shape torch\.Size\((.*?)\).*?torch\.Size\((.*?)\)", text):
            why = f"{match[1]} is {match[2]}, expected {match[3]}"
        elif match := re.search(r'(Missing|Unexpected) key\(s\) in state_dict: "(.*?)"', text):
            why = f"{match[2]} is {'missing' if match[1] == 'Missing' else 'not known there'}"
        elif isinstance(error, AssertionError):  # open_clip cannot resize position embeddings of another width
            why = self._other_shape(model, where) or text
        else:
            return refusal(error) or f"cannot be read as weights: {in_one_line(error)[:160]}"
        return f"does not fit {self.model or 'its config'}: {why}"

    def _other_shape(self, model: Any, where: str) -> str | None:
        """Returns the first position embedding whose width is not the model's, in words; None if all widths agree."""
        from open_clip.factory import load_state_dict

        tensors = load_state_dict(str(self.weights), device=where, weights_only=True)
        for name, wanted in model.state_dict().items():
            tensor = tensors.get(name)
            if name.endswith("positional_embedding") and tensor is not None and tensor.shape[-1] != wanted.shape[-1]:
                return f"{name} is {list(tensor.shape)}, expected {list(wanted.shape)}"
        return None


class Clip:
    """A loaded model that embeds images and texts.

    Args:
        checkpoint: the model to load.
        where: device, as torch names it; default: a GPU if there is one.
        threads: number of CPU threads that prepare images for a GPU.
    """

    def __init__(self, checkpoint: ClipCheckpoint, where: str | None = None, threads: int = 1) -> None:
        from open_clip.transform import PreprocessCfg, image_transform_v2

        self.device, self.threads = where or device(), threads
        self.model = checkpoint.open(self.device)
        self.preprocess = image_transform_v2(PreprocessCfg(**self.model.visual.preprocess_cfg), is_train=False)
        self._shortest = self.model.visual.preprocess_cfg["resize_mode"] == "shortest"
        self._checkpoint = checkpoint

    @cached_property
    def _tokenizer(self) -> Any:
        return self._checkpoint.tokenizer()

    def images(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """Embeds images.

        Args:
            pictures: uint8 (H, W, 3), channels B, G, R; sizes may differ.

        Returns:
            float32 (n, width), L2-normalised.
        """
        with ThreadPoolExecutor(self.threads) as threads:
            return self._encode(self.model.encode_image, threads.map(self.prepare, pictures))

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embeds texts, cut at the model's context; returns float32 (n, width), L2-normalised."""
        return self._encode(self.model.encode_text, self._tokenizer(list(texts)))

    def logits(self, images: np.ndarray, texts: np.ndarray) -> np.ndarray:
        """Returns scaled cosines, plus a SigLIP's bias, as in training: (n, width), (m, width) → float32 (n, m)."""
        bias = getattr(self.model, "logit_bias", None)
        scaled = float(self.model.logit_scale.exp()) * (images.astype(np.float32) @ texts.T)
        return scaled if bias is None else scaled + float(bias)

    def prepare(self, picture: np.ndarray) -> "torch.Tensor":
        """Returns the model's input for an image: float32 (3, S, S), prepared by open_clip."""
        from PIL import Image

        if self._shortest:
            picture = middle(picture, STRIP)
        return self.preprocess(Image.fromarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)))

    def _encode(self, encode: Any, inputs: "Iterable[torch.Tensor]") -> np.ndarray:
        """Encodes inputs; on a CPU one at a time, since a batch gains nothing there and its size changes the last bits.

        A GPU encodes one batch while the next is prepared, as no result is copied back before the end.
        """
        import torch

        kind = next(self.model.parameters()).dtype
        waiting, parts = iter(inputs), []
        with torch.inference_mode():
            while batch := list(itertools.islice(waiting, 1 if self.device == "cpu" else GPU_BATCH)):
                stacked = torch.stack(batch).to(self.device)
                stacked = stacked.to(kind) if stacked.is_floating_point() else stacked
                parts.append(encode(stacked, normalize=True))
            return (
                torch.cat(parts).float().cpu().numpy() if parts else np.zeros((0, self._checkpoint.width), np.float32)
            )


def _known_architecture(key: str, model: str) -> dict[str, Any]:
    """Reads one of open_clip's own configurations without importing open_clip, which takes seconds."""
    package = importlib.util.find_spec("open_clip")
    if package is None or package.origin is None:
        raise UserError("the package open_clip_torch is not installed; `pip install open_clip_torch`", key)
    folder = Path(package.origin).parent / "model_configs"
    file = folder / f"{model.replace('/', '-')}.json"
    if not file.is_file():
        raise UserError(
            f'open_clip knows no "{model}"{nearest(model, [f.stem for f in folder.glob("*.json")])}', f"{key}.model"
        )
    return read_config(f"{key}.model", file)
