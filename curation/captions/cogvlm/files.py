"""The files of a checkpoint of CogVLM, found and named without torch or transformers, which take seconds to import."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from curation.errors import UserError, in_one_line

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
TOKENIZERS = ("tokenizer.json", "tokenizer.model")
"""Either is a tokenizer; the first is preferred."""
BESIDE = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
IMAGE_SIZE = 490
"""Pixels of the square that the official checkpoint sees."""
LISTED = 20
"""Files that an error names at most."""


class Files:
    """The files of one checkpoint.

    Args:
        key: the recipe's section, for errors, such as `captions.captioner`.
        folder: of the weights.
        vocabulary: folder of the tokenizer; None if it lies beside the weights.
    """

    def __init__(self, key: str, folder: Path, vocabulary: Path | None = None) -> None:
        self.key, self.folder, self.vocabulary = f"{key}.checkpoint", folder, vocabulary or folder
        self.words_key = f"{key}.tokenizer" if vocabulary else self.key

    @property
    def all(self) -> dict[str, Path]:
        """All files that are read, by name. Raises UserError if one is missing."""
        index = [] if self.weights[0].name == SINGLE else [self.folder / INDEX]
        found = {path.name: path for path in [self.folder / "config.json", *index, *self.weights]}
        return found | {f"tokenizer/{path.name}": path for path in self.words}

    @cached_property
    def config(self) -> dict[str, Any]:
        """What config.json says. Raises UserError if it is missing or no JSON."""
        if not self.folder.is_dir():
            raise UserError(f"{self.key}: {self.folder} is a file; expected the folder of a checkpoint")
        return self._json("config.json")

    @property
    def image_size(self) -> int:
        """Pixels of the square that the model sees. Raises UserError as `config`, and if it is no number."""
        vision = self.config.get("vision_config")
        size = vision.get("image_size", IMAGE_SIZE) if isinstance(vision, dict) else IMAGE_SIZE
        if not isinstance(size, int) or size < 1:
            raise UserError(
                f"{self.key}: {self.folder / 'config.json'}: vision_config.image_size: expected pixels, found {size!r}"
            )
        return size

    @cached_property
    def weights(self) -> list[Path]:
        """The files of weights. Raises UserError if one is missing, or if they are pickles, which are not opened."""
        _ = self.config
        names = [SINGLE]
        if not (self.folder / SINGLE).is_file() and (self.folder / INDEX).is_file():
            parts = self._json(INDEX).get("weight_map")
            if not isinstance(parts, dict) or not parts or any(Path(str(p)).name != p for p in parts.values()):
                raise UserError(f"{self.key}: {self.folder / INDEX}: expected a weight_map of file names")
            names = sorted(set(parts.values()))
        missing = next((name for name in names if not (self.folder / name).is_file()), None)
        if missing == SINGLE and (pickles := sorted(path.name for path in self.folder.glob("*.bin"))):
            raise UserError(
                f"{self.key}: {self.folder} has no {INDEX} but {pickles[0]}, a pickle, which is not opened; fetch the "
                "safetensors files, or convert it where you trust it"
            )
        if missing:
            wanted = INDEX if missing == SINGLE else missing
            raise UserError(f"{self.key}: {self.folder} has no {wanted}; found {_listed(self.folder)}")
        return [self.folder / name for name in names]

    @cached_property
    def words(self) -> list[Path]:
        """The tokenizer's files, itself first. Raises UserError if there is none."""
        found = [path for name in (*TOKENIZERS, *BESIDE) if (path := self.vocabulary / name).is_file()]
        if not found or found[0].name not in TOKENIZERS:
            advice = "; name the folder of Vicuna's by `tokenizer`" if self.words_key == self.key else ""
            raise UserError(
                f"{self.words_key}: {self.vocabulary} has no tokenizer: expected {' or '.join(TOKENIZERS)}, found "
                f"{_listed(self.vocabulary)}{advice}"
            )
        return found

    def _json(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"{self.key}: {self.folder} has no {name}; found {_listed(self.folder)}") from None
        except (OSError, ValueError) as error:
            raise UserError(f"{self.key}: {path} is no JSON: {in_one_line(error)}") from None
        if not isinstance(found, dict):
            raise UserError(f"{self.key}: {path}: expected a JSON object, found {type(found).__name__}")
        return found


def _listed(folder: Path) -> str:
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return ", ".join(there[:LISTED]) or "nothing"
