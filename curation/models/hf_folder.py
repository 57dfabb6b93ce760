"""Finds the files of a checkpoint folder of Hugging Face transformers, and checks that they are complete.

Only JSON, tokenizer files and safetensors are read: no pickle, no code from a checkpoint, nothing from a hub. Where
transformers would fill missing tensors with random numbers, this module raises an error.
"""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from curation.errors import UserError, in_one_line
from curation.models.config_json import read_config

if TYPE_CHECKING:
    import torch


WEIGHTS = "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
FLOATS = ("F64", "F32", "F16", "BF16")
"""Tensor types, in the names of safetensors, that are converted to the model's own type; quantised ones are kept."""
LISTED = 20
"""Largest number of files that an error message lists."""
LOCAL = {"local_files_only": True, "trust_remote_code": False}
"""Arguments of every `from_pretrained`."""


class SafetensorsHeader(NamedTuple):
    """The entry of one tensor in a weight file's header."""

    path: Path
    name: str
    shape: list[int]
    dtype: str
    """The tensor's type in the names of safetensors, such as BF16."""


class HfFolder:
    """Base class of checkpoint folders. A subclass overrides `files`, by `listed`, to say which files it reads.

    Args:
        key: the recipe's key that names the checkpoint, for error messages.
        folder: the checkpoint's folder.
    """

    def __init__(self, key: str, folder: Path) -> None:
        self.key, self.folder = key, folder

    @cached_property
    def files(self) -> dict[str, Path]:
        """The files that are read, by name. Raises UserError as `listed` does."""
        return self.listed([])

    @property
    def weights(self) -> list[Path]:
        """The weight files among `files`."""
        return [path for name, path in self.files.items() if name.endswith(".safetensors")]

    @cached_property
    def config(self) -> Any:
        """The model's configuration.

        Raises:
            UserError: config.json is damaged, or names an architecture that transformers does not know, or one whose
                code comes with the checkpoint, which is not run.
        """
        from transformers import AutoConfig

        with self.explained(self.files["config.json"], "a model's configuration"):
            return AutoConfig.from_pretrained(self.folder, **LOCAL)

    def listed(self, names: Sequence[str], others: Sequence[str] = ()) -> dict[str, Path]:
        """Returns config.json, the named files, and the weights: a single safetensors file, or an index and its files.

        Args:
            names: files that must exist.
            others: glob patterns of files that are read if they exist.

        Raises:
            UserError: a file is missing; a configuration is damaged; or the weights are a pickle, which may hold any
                code and is not opened.
        """
        if not self.folder.is_dir():
            raise UserError(f"{self.folder} is a file; expected the folder of a checkpoint", self.key)
        wanted = ["config.json", *names]
        if not (self.folder / WEIGHTS).is_file() and (self.folder / INDEX).is_file():
            parts = self.json(INDEX).get("weight_map")
            if not isinstance(parts, dict) or not parts or any(Path(str(p)).name != p for p in parts.values()):
                raise UserError(f"{self.folder / INDEX}: expected a weight_map of file names", self.key)
            wanted += [INDEX, *sorted(set(parts.values()))]
        else:
            wanted.append(WEIGHTS)
        missing = next((name for name in wanted if not (self.folder / name).is_file()), None)
        if missing == WEIGHTS and (pickles := sorted(p.name for p in self.folder.glob("*.bin"))):
            raise UserError(
                f"{self.folder} has no {WEIGHTS} but {pickles[0]}, a pickle, which is not opened; "
                "convert it to safetensors where you trust it (`model.save_pretrained(FOLDER)` in transformers), or "
                "fetch the safetensors files",
                self.key,
            )
        if missing:
            present = ", ".join(sorted(p.name for p in self.folder.iterdir())[:LISTED]) or "nothing"
            raise UserError(f"{self.folder} has no {missing}; found {present}", self.key)
        for name in ("config.json", "preprocessor_config.json"):
            self.json(name)
        more = sorted({path.name for pattern in others for path in self.folder.glob(pattern) if path.is_file()})
        return {name: self.folder / name for name in dict.fromkeys(wanted + more)}

    def json(self, name: str) -> dict[str, Any]:
        """Reads a JSON object of the folder by `read_config`, which raises UserError; {} if there is no such file."""
        try:
            return read_config(self.key, self.folder / name)
        except FileNotFoundError:  # `listed` reports a missing file
            return {}

    def headers(self) -> list[SafetensorsHeader]:
        """Reads the headers of all tensors in the weight files. Raises UserError if a file is damaged."""
        from safetensors import SafetensorError, safe_open

        entries: list[SafetensorsHeader] = []
        for path in self.weights:
            try:
                with safe_open(path, "pt") as file:
                    slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
                    entries += [
                        SafetensorsHeader(path, name, s.get_shape(), s.get_dtype()) for name, s in slices.items()
                    ]
            except (SafetensorError, OSError) as error:
                raise UserError(
                    f"{path} is no safetensors file: {in_one_line(error)}; fetch it again", self.key
                ) from None
        return entries

    def shapes(self) -> dict[str, list[int]]:
        """Returns the shapes of the tensors in the weight files, by name. Raises UserError as `headers` does."""
        return {header.name: header.shape for header in self.headers()}

    def check_index(self) -> None:
        """Raises UserError if the weights' index has no `metadata`, without which transformers cannot load by it."""
        if INDEX in self.files and not isinstance(self.json(INDEX).get("metadata"), dict):
            raise UserError(
                f'{self.folder / INDEX}: expected "metadata" beside the weight_map, as transformers asks '
                'for it, found none; add "metadata": {}',
                self.key,
            )

    def fit(self, spread: bool = False) -> None:
        """Checks that the weights fit into this machine's whole memory: float32 on a CPU, bfloat16 on a GPU.

        Args:
            spread: whether the model may be spread over all GPUs, and over the CPU's memory if those are too small.

        Raises:
            UserError: the weights are larger, so that the model would not load even if nothing else were in memory.
        """
        import torch

        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if torch.cuda.is_available():
            size, kind, where = 2, "bfloat16", "its GPUs and the machine have" if spread else "its GPU has"
            gpus = range(torch.cuda.device_count()) if spread else [torch.cuda.current_device()]
            available = sum(torch.cuda.get_device_properties(gpu).total_memory for gpu in gpus) + spread * machine
        else:
            size, kind, where, available = 4, "float32", "this machine, which has no GPU, has", machine
        needed = sum(math.prod(h.shape) * (size if h.dtype in FLOATS else 1) for h in self.headers())
        if needed > available:
            raise UserError(
                f"{self.folder}: the weights take {needed / 1e9:,.1f} GB of memory in {kind}; {where} "
                f"{available / 1e9:,.1f} GB",
                self.key,
            )

    def kind(self, auto: Any, wanted: str) -> Any:
        """Returns the class that one of transformers' Auto classes selects for the configuration. Raises UserError."""
        import torch

        with self.explained(self.files["config.json"], wanted), torch.device("meta"):
            return type(auto.from_config(self.config, trust_remote_code=False))

    def built(self, kind: Any, tensors: "Mapping[str, torch.Tensor] | None", wanted: str, **settings: Any) -> Any:
        """Builds the model with the given tensors and checks the result by `judge`.

        transformers' own loading is used, since it also renames tensors of old checkpoints.

        Args:
            kind: the model's class.
            tensors: the tensors by name; None loads those of the folder, each directly onto its device.
            wanted: the expected content of config.json in words, for the error message.
            settings: further arguments of `from_pretrained`, such as `dtype` and `device_map`.

        Raises:
            UserError: the configuration fits no such model, or `judge` finds tensors missing or of another shape.
        """
        loading = {"state_dict": dict(tensors)} if tensors is not None else {"use_safetensors": True, **LOCAL}
        with self.explained(self.files["config.json"], wanted):
            model, report = kind.from_pretrained(
                None if tensors is not None else self.folder,
                config=self.config,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **loading,
                **settings,
            )
        self.judge(report)
        return model

    def judge(self, report: Mapping[str, Any]) -> None:
        """Raises UserError if transformers' report on loading lists tensors that are missing or of the wrong shape."""
        weights = self.weights[0] if len(self.weights) == 1 else self.folder
        for name, has, wants in sorted(report["mismatched_keys"]):
            path = next((header.path for header in self.headers() if header.name == name), weights)
            raise UserError(f"{path}: {name}: expected {list(wants)} by config.json, found {list(has)}", self.key)
        if lacking := sorted(report["missing_keys"]):
            more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
            raise UserError(f"{weights}: expected the tensor {lacking[0]}{more}, found none", self.key)

    @contextmanager
    def explained(self, path: Path, wanted: str) -> Iterator[None]:
        """Converts any exception of transformers, which raises nearly any type, to a UserError; silences its output."""
        from transformers.utils import logging

        verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
        logging.set_verbosity(logging.CRITICAL)
        logging.disable_progress_bar()
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"{path}: expected {wanted}: {in_one_line(error)}", self.key) from None
        finally:
            logging.set_verbosity(verbosity)
            if bars:
                logging.enable_progress_bar()
