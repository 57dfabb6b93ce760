"""CogVLM and its tokenizer from a checkpoint: whether the files fit the model, and the model with its weights.

Only JSON, safetensors and the tokenizer's own files are read: no pickle, no code that comes with a checkpoint.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import GenerationConfig, LlamaTokenizer
from transformers.utils import logging

from curation.captions.cogvlm.config import CogVLMConfig
from curation.captions.cogvlm.files import Files
from curation.captions.cogvlm.model import CogVLMForCausalLM
from curation.errors import UserError, in_one_line

IGNORED = "rotary_emb.inv_freq"
"""Ending of tensors that old checkpoints hold and that are constants."""


class Checkpoint:
    """One checkpoint."""

    def __init__(self, files: Files) -> None:
        self.files = files

    @cached_property
    def config(self) -> CogVLMConfig:
        """Raises UserError if config.json is not that of a CogVLM that chats."""
        path = self.files.folder / "config.json"
        with _explained(self.files.key, path, "the configuration of CogVLM"):
            config = CogVLMConfig.from_dict(self.files.config)
        if config.template_version != "chat":
            raise UserError(
                f'{self.files.key}: {path}: template_version: expected "chat" (THUDM/cogvlm-chat-hf), found '
                f'"{config.template_version}"'
            )
        return config

    @cached_property
    def tokenizer(self) -> Any:
        """LLaMA's, with the checkpoint's vocabulary. Raises UserError if it cannot be read, or is another model's."""
        path, key = self.files.words[0], self.files.words_key
        with _explained(key, path, "Vicuna's tokenizer"):
            found = LlamaTokenizer.from_pretrained(path.parent, local_files_only=True)
        if found.vocab_size > self.config.vocab_size or found.eos_token_id != self.config.eos_token_id:
            raise UserError(
                f"{key}: {path}: expected {self.config.vocab_size} tokens at most and </s> as "
                f"{self.config.eos_token_id}, found {found.vocab_size} and {found.eos_token_id}"
            )
        return found

    def check(self) -> None:
        """Compares names and shapes of all tensors with those of the model, and loads the tokenizer; reads no weights.

        Raises:
            UserError: with the file, the tensor, what was expected and what was found.
        """
        key = self.files.key
        with _explained(key, self.files.folder / "config.json", "the configuration of CogVLM"), torch.device("meta"):
            expected = {name: list(t.shape) for name, t in CogVLMForCausalLM(self.config).state_dict().items()}
        lacking = dict.fromkeys(expected)
        for path, name, shape in self._headers():
            if name.endswith(IGNORED):
                continue
            if name not in expected:
                raise UserError(f"{key}: {path}: {name}: expected no such tensor, found {shape}")
            if shape != expected[name]:
                raise UserError(f"{key}: {path}: {name}: expected {expected[name]} by config.json, found {shape}")
            lacking.pop(name, None)
        if lacking:
            more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
            where = self.files.weights[0] if len(self.files.weights) == 1 else self.files.folder
            raise UserError(f"{key}: {where}: expected the tensor {next(iter(lacking))}{more}, found none")
        _ = self.tokenizer

    def load(self, where: str, spread: bool = False) -> CogVLMForCausalLM:
        """The model with its weights, each read right to its place: in bfloat16 on a GPU, in float32 on a CPU.

        Args:
            where: a device, as torch names it.
            spread: over all GPUs, where one has too little memory.

        Raises:
            UserError: as `check`.
        """
        self.check()
        with _explained(self.files.key, self.files.folder, "weights that can be loaded"):
            model = CogVLMForCausalLM.from_pretrained(
                self.files.folder,
                config=self.config,
                dtype=torch.float32 if where == "cpu" else torch.bfloat16,
                device_map="auto" if spread else {"": where},
                use_safetensors=True,
                local_files_only=True,
            )
        # generate is to follow what it is told, not what a generation_config.json beside the weights says
        ids = {name: getattr(self.config, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
        model.generation_config = GenerationConfig(**ids)
        return model.eval().requires_grad_(False)

    def _headers(self) -> Iterator[tuple[Path, str, list[int]]]:
        """File, name and shape of each tensor."""
        for path in self.files.weights:
            try:
                with safe_open(path, "pt") as file:
                    shapes = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            except (SafetensorError, OSError) as error:
                raise UserError(
                    f"{self.files.key}: {path} is no whole safetensors file: {in_one_line(error)}; fetch it again"
                ) from None
            yield from ((path, name, shape) for name, shape in shapes.items())


@contextmanager
def _explained(key: str, path: Path, wanted: str) -> Iterator[None]:
    """Turns what transformers raises, which is nearly anything, into one line; keeps it from printing."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{key}: {path}: expected {wanted}: {in_one_line(error)}") from None
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
