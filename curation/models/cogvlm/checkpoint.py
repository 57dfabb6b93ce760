"""Loads CogVLM and its tokenizer from a checkpoint, and checks that the files fit the model.

Only JSON, safetensors and the tokenizer's own files are read: no pickle, no code from a checkpoint.
"""

from functools import cached_property
from typing import Any

import torch
from transformers import GenerationConfig, LlamaTokenizer

from curation.errors import UserError
from curation.models.cogvlm.config import CogVLMConfig
from curation.models.cogvlm.files import Files
from curation.models.cogvlm.model import CogVLMForCausalLM
from curation.models.hf_folder import LOCAL

IGNORED = "rotary_emb.inv_freq"
"""Ending of the names of tensors that only old checkpoints hold, and that are constants."""
WANTED = "the configuration of CogVLM"


class CogVLMCheckpoint:
    """One checkpoint of CogVLM."""

    def __init__(self, files: Files) -> None:
        self.files = files

    @cached_property
    def config(self) -> CogVLMConfig:
        """The model's configuration. Raises UserError if config.json is not that of the chat version of CogVLM."""
        path = self.files.folder / "config.json"
        with self.files.explained(path, WANTED):
            config = CogVLMConfig.from_dict(self.files.json("config.json"))
        if config.template_version != "chat":
            raise UserError(
                f'{path}: template_version: expected "chat" (THUDM/cogvlm-chat-hf), found "{config.template_version}"',
                self.files.key,
            )
        return config

    @cached_property
    def tokenizer(self) -> Any:
        """LLaMA's tokenizer with the checkpoint's vocabulary. Raises UserError if it is damaged or another model's."""
        path, folder = self.files.words[0], self.files.vocabulary
        with folder.explained(path, "Vicuna's tokenizer"):
            tokenizer = LlamaTokenizer.from_pretrained(path.parent, **LOCAL)
        if tokenizer.vocab_size > self.config.vocab_size or tokenizer.eos_token_id != self.config.eos_token_id:
            raise UserError(
                f"{path}: expected {self.config.vocab_size} tokens at most and </s> as "
                f"{self.config.eos_token_id}, found {tokenizer.vocab_size} and {tokenizer.eos_token_id}",
                folder.key,
            )
        return tokenizer

    def check(self) -> None:
        """Compares the names and shapes of all tensors with the model's, and loads the tokenizer; reads no weights.

        Raises:
            UserError: the message names the file, the tensor, what was expected and what was found.
        """
        files = self.files
        files.check_index()
        with files.explained(files.folder / "config.json", WANTED), torch.device("meta"):
            expected = {name: list(t.shape) for name, t in CogVLMForCausalLM(self.config).state_dict().items()}
        headers = [header for header in files.headers() if not header.name.endswith(IGNORED)]
        for path, name, shape, _dtype in headers:
            if name not in expected:
                raise UserError(f"{path}: {name}: expected no such tensor, found {shape}", files.key)
        files.judge(
            {
                "mismatched_keys": [
                    (h.name, h.shape, expected[h.name]) for h in headers if h.shape != expected[h.name]
                ],
                "missing_keys": expected.keys() - {header.name for header in headers},
            }
        )
        _ = self.tokenizer

    def load(self, where: str, spread: bool = False) -> CogVLMForCausalLM:
        """Returns the model with its weights, each loaded right onto its device: bfloat16 on a GPU, float32 on a CPU.

        Args:
            where: the device, as torch names it.
            spread: whether to spread the model over all GPUs, if one has too little memory.

        Raises:
            UserError: as in `check` and in HfFolder.fit.
        """
        self.check()
        self.files.fit(spread)
        with self.files.explained(self.files.folder, "weights that can be loaded"):
            model = CogVLMForCausalLM.from_pretrained(
                self.files.folder,
                config=self.config,
                dtype=torch.float32 if where == "cpu" else torch.bfloat16,
                device_map="auto" if spread else {"": where},
                use_safetensors=True,
                **LOCAL,
            )
        # `generate` must follow its arguments, not a generation_config.json beside the weights
        ids = {name: getattr(self.config, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
        model.generation_config = GenerationConfig(**ids)
        return model.eval().requires_grad_(False)
