"""Model checkpoints: one folder holds them, and each is found in it by name. Nothing is ever downloaded."""

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
from curation.workspace import Workspace
from curation.workspace.digests import file_digest
from curation.workspace.files import write_text

if TYPE_CHECKING:
    import torch

    from curation.recipe import Recipe


WEIGHTS = (".safetensors", ".onnx", ".pth", ".pt", ".bin")
"""Endings of files of weights."""
LARGE = 32_000_000
"""Bytes from which a file's sha256 is kept on disk: hashing a checkpoint of some gigabytes takes seconds."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a model comes from, for people: `curate doctor` prints it."""

    name: str
    licence: str
    fetch: str
    """The command that brings it, on a machine with a connection; MODELS stands for the folder of checkpoints."""

    @property
    def place(self) -> str | None:
        """Where below MODELS the command puts it; None for what comes with a package."""
        found = re.search(r"MODELS/([\w.-]+)", self.fetch)
        return found[1] if found else None


class ModelAbsent(UserError):
    """A model is not on this machine: what was computed with it can be read, and nothing be computed."""


class Models:
    """The folder of checkpoints.

    Args:
        folder: the recipe's `models`, or CURATE_MODELS; None if neither is given.
        digests: the file in which sha256 of large files are kept; None keeps none.
        notes: the file that says what the scores of a workspace were made with; None keeps none.
    """

    def __init__(
        self, folder: str | Path | None = None, digests: Path | None = None, notes: Path | None = None
    ) -> None:
        self.folder = Path(folder) if folder else None
        self._digests, self._notes = digests, notes

    @classmethod
    def of(cls, recipe: "Recipe", workspace: Workspace) -> "Models":
        """The recipe's, with what is kept of it in the workspace."""
        ledger = workspace.ledger
        return cls(recipe.models, *(ledger(name).with_suffix(".json") for name in ("digests", "models")))

    def note(self, made_with: dict[str, dict[str, Any]]) -> None:
        """Keeps, by plug-in, what its output is made with, for machines that have no models: see `noted`."""
        if self._notes is None:
            return
        before = _read_json(self._notes)
        if before | made_with != before:
            with suppress(StageError):  # a convenience: without it a reader needs the models too
                write_text(self._notes, json.dumps(before | made_with, indent=1, ensure_ascii=False))

    def noted(self, plugin: str) -> dict[str, Any]:
        """What the last run in the workspace noted of a plug-in; empty if nothing."""
        found = _read_json(self._notes).get(plugin) if self._notes else None
        return found if isinstance(found, dict) else {}

    def find(self, key: str, name: str) -> Path:
        """The checkpoint, a file or a folder.

        Args:
            key: the recipe's key that names it, for the error.
            name: its path below the folder of checkpoints; an absolute path is taken as it is.

        Raises:
            ModelAbsent: it is not there.
            UserError: no name is given.
        """
        if not name.strip():
            raise UserError(f"{key}: names no checkpoint")
        path = Path(os.path.expandvars(name)).expanduser()
        if path.is_absolute():
            if not path.exists():
                raise ModelAbsent(f"{key}: {path} is not there")
            return path
        if self.folder is None:
            raise ModelAbsent(
                f"{key}: {name} lies in the folder of models; say where that is by `models:` or CURATE_MODELS"
            )
        if not self.folder.is_dir():
            raise ModelAbsent(f"{key}: the folder of models {self.folder} is not there; see `models:` or CURATE_MODELS")
        if not (self.folder / path).exists():
            there = sorted(entry.name for entry in self.folder.iterdir())
            raise ModelAbsent(
                f"{key}: no {name} in {self.folder}{nearest(name, there)}; `curate doctor` tells how to fetch models"
            )
        return self.folder / path

    def find_file(self, key: str, name: str) -> Path:
        """The checkpoint, which must be a file. Raises UserError."""
        path = self.find(key, name)
        if not path.is_file():
            raise UserError(f"{key}: {path} is a folder; name the file of weights in it")
        return path

    def digest(self, path: Path) -> str:
        """sha256 of a file, known by its size and time: of a large one, from the workspace."""
        stat = path.stat()
        if stat.st_size < LARGE or self._digests is None:
            return file_digest(path)
        name, stamp = str(path.resolve()), f"{stat.st_size}:{stat.st_mtime_ns}"
        known = _read_json(self._digests)
        if (known.get(name) or [None])[0] != stamp:
            known = _read_json(self._digests) | {name: [stamp, file_digest(path)]}
            with suppress(StageError):  # a convenience: where it cannot be kept, it is worked out again
                write_text(self._digests, json.dumps(known, indent=1))
        return str(known[name][1])


def read_tensors(key: str, path: Path) -> "dict[str, torch.Tensor]":
    """The tensors of a small checkpoint (a head): safetensors, or PyTorch's own format read without running code.

    Raises:
        UserError: the file is no such checkpoint, or asks for anything but tensors. One line, with the key.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that an unusual pickle may not be read
            found = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise UserError(f"{key}: {path} is no safetensors file: {in_one_line(error)}; fetch it again") from None
    except pickle.UnpicklingError as error:
        raise UserError(f"{key}: {path} {refusal(error) or in_one_line(error)}") from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise UserError(f"{key}: {path} is no checkpoint that PyTorch can read: {in_one_line(error)}") from None
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not (isinstance(found, dict) and found and all(isinstance(v, torch.Tensor) for v in found.values())):
        raise UserError(f"{key}: {path} holds {type(found).__name__}; expected tensors by name")
    return found


def refusal(error: Exception) -> str | None:
    """Why PyTorch did not open a pickle, out of its long advice on how to make it; None if it was no pickle's fault."""
    found = re.search(r"GLOBAL (\S+)", str(error))
    other = re.search(r"WeightsUnpickler error:\s*(.+)", str(error))
    if not found and not other:
        return None
    why = f"it asks for {found[1]}" if found else other[1] if other else ""
    return f"is a pickle of more than tensors, and not opened ({why}); save it as safetensors where you trust it"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
