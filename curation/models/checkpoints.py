"""Finds model checkpoints by name in one folder; nothing is ever downloaded."""

import json
import os
import pickle
import re
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.errors import StageError, UserError, in_one_line, nearest
from curation.workspace.digests import ends_digest, file_digest
from curation.workspace.files import json_object, write_text
from curation.workspace.folder import Workspace

if TYPE_CHECKING:
    import torch

    from curation.recipe import Recipe


WEIGHTS = (".safetensors", ".onnx", ".pth", ".pt", ".bin")
"""Endings of weight files."""
LARGE = 32_000_000
"""Size in bytes from which a file's sha256 is cached on disk: hashing a checkpoint of some gigabytes takes seconds."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A place from which a model can be fetched, and the model's licence; `curate doctor` prints this."""

    name: str
    licence: str
    fetch: str
    """The command that fetches the model, on a machine with a connection; MODELS stands for the checkpoints' folder."""

    @property
    def place(self) -> str | None:
        """The folder below MODELS into which `fetch` puts the model; None for a model that comes with a package."""
        match = re.search(r"MODELS/([\w.-]+)", self.fetch)
        return match[1] if match else None


class ModelAbsent(UserError):
    """A model is not on this machine. Earlier results of it can still be read, but nothing new can be computed."""


class Models:
    """The folder of checkpoints.

    Args:
        folder: the recipe's `models`, or CURATE_MODELS; None if neither is given.
        digests: the JSON file that caches the sha256 of large files; None caches nothing.
        notes: the JSON file that records which models made the scores of a workspace; None records nothing.
    """

    def __init__(
        self, folder: str | Path | None = None, digests: Path | None = None, notes: Path | None = None
    ) -> None:
        self.folder = Path(folder) if folder else None
        self._digests, self._notes = digests, notes

    @classmethod
    def of(cls, recipe: "Recipe", workspace: Workspace) -> "Models":
        """Returns the folder of checkpoints of a recipe, with the cache and the notes in its workspace."""
        ledger = workspace.ledger
        return cls(recipe.models, *(ledger(name).with_suffix(".json") for name in ("digests", "models")))

    def note(self, made_with: dict[str, dict[str, Any]]) -> None:
        """Records the models that each plug-in's output is made with, for machines without the models; see `noted`."""
        if self._notes is None:
            return
        before = json_object(self._notes)
        if before | made_with != before:
            with suppress(StageError):  # only a convenience: without the note, a reader needs the models
                write_text(self._notes, json.dumps(before | made_with, indent=1, ensure_ascii=False))

    def noted(self, plugin: str) -> dict[str, Any]:
        """Returns the record that the workspace's last run made of a plug-in by `note`; empty if there is none."""
        record = json_object(self._notes).get(plugin) if self._notes else None
        return record if isinstance(record, dict) else {}

    def find(self, key: str, name: str) -> Path:
        """Returns the path of a checkpoint, a file or a folder.

        Args:
            key: the recipe's key that names the checkpoint, for the error message.
            name: the checkpoint's path below the folder of checkpoints, or an absolute path.

        Raises:
            ModelAbsent: the checkpoint does not exist, or no folder of checkpoints is set.
            UserError: the name is empty.
        """
        if not name.strip():
            raise UserError("names no checkpoint", key)
        path = Path(os.path.expandvars(name)).expanduser()
        if path.is_absolute():
            if not path.exists():
                raise ModelAbsent(f"{path} is not there", key)
            return path
        if self.folder is None:
            raise ModelAbsent(
                f"{name} lies in the folder of models; say where that is by `models:` or CURATE_MODELS", key
            )
        if not self.folder.is_dir():
            raise ModelAbsent(f"the folder of models {self.folder} is not there; see `models:` or CURATE_MODELS", key)
        if not (self.folder / path).exists():
            names = sorted(entry.name for entry in self.folder.iterdir())
            raise ModelAbsent(
                f"no {name} in {self.folder}{nearest(name, names)}; `curate doctor` tells how to fetch models", key
            )
        return self.folder / path

    def find_file(self, key: str, name: str) -> Path:
        """Returns the path of a checkpoint that must be a file. Raises UserError if it is a folder, or as `find`."""
        path = self.find(key, name)
        if not path.is_file():
            raise UserError(f"{path} is a folder; name the file of weights in it", key)
        return path

    def digest(self, path: Path) -> str:
        """Returns a file's sha256, which is cached in the workspace for a large file.

        A cached one holds as long as size, modification time and both ends of the file are the same.
        """
        stat = path.stat()
        if stat.st_size < LARGE or self._digests is None:
            return file_digest(path)
        name, stamp = str(path.resolve()), f"{stat.st_size}:{stat.st_mtime_ns}"
        seen = [stamp, ends_digest(path)]
        match json_object(self._digests).get(name):
            case [*before, str(known)] if before == seen:
                return known
        digest = file_digest(path)
        with suppress(StageError):  # only a cache: without it, the digest is computed again
            write_text(self._digests, json.dumps(json_object(self._digests) | {name: [*seen, digest]}, indent=1))
        return digest


def read_tensors(key: str, path: Path) -> "dict[str, torch.Tensor]":
    """Reads the tensors of a small checkpoint, safetensors or PyTorch's own format, without running code from the file.

    Raises:
        UserError: the file cannot be read, or holds anything but named tensors; one line, with the recipe's key.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            content = _read_pickle(path)
    except SafetensorError as error:
        raise UserError(f"{path} is no safetensors file: {in_one_line(error)}; fetch it again", key) from None
    except pickle.UnpicklingError as error:
        raise UserError(f"{path} {refusal(error) or in_one_line(error)}", key) from None
    except Exception as error:  # a text read as a pickle ends in nearly any of them
        what = f"{type(error).__name__}: {in_one_line(error)}"
        raise UserError(f"{path} is no checkpoint that PyTorch can read ({what}); fetch it again", key) from None
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content:
        found = "nothing" if isinstance(content, dict) else type(content).__name__
        raise UserError(f"{path} holds {found}; expected tensors by name", key)
    if not all(isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in content.items()):
        raise UserError(f"{path} holds more than tensors by name", key)
    return content


def _read_pickle(path: Path) -> Any:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of unusual pickles
        return torch.load(path, map_location="cpu", weights_only=True)


def refusal(error: Exception) -> str | None:
    """Returns why PyTorch refused to open a pickle, shortened from its long message; None if it had another reason."""
    match = re.search(r"GLOBAL (\S+)", str(error))
    other = re.search(r"WeightsUnpickler error:\s*(.+)", str(error))
    if not match and not other:
        return None
    why = f"it asks for {match[1]}" if match else other[1] if other else ""
    return f"is a pickle of more than tensors, and not opened ({why}); save it as safetensors where you trust it"
