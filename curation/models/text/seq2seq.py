"""Translates texts by an encoder-decoder checkpoint of Hugging Face transformers in a local folder."""

import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.errors import UserError
from curation.models.device import device
from curation.models.hf_folder import LOCAL, WEIGHTS, HfFolder
from curation.models.text.generation import Answer, Halving

if TYPE_CHECKING:
    import torch


CONVERT = (
    "python -c \"from transformers import AutoModelForSeq2SeqLM as M; M.from_pretrained('{0}').save_pretrained('{0}')\""
)
"""The command that converts a pickle to safetensors."""
MOST = 1024
"""Largest number of sources that a GPU is given at once, however short they are."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """The parts of one kind of checkpoint."""

    model_type: str
    """The value of `model_type` in config.json."""
    model: str
    """The model's class in transformers."""
    tokenizer: str
    """The tokenizer's class in transformers."""
    names: tuple[str, ...]
    """Files that must exist beside the configuration and the weights."""
    others: tuple[str, ...] = ()
    """Files that are read if they exist."""
    decoding: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the tokenizer's `decode`."""


class Seq2SeqCheckpoint(HfFolder):
    """One encoder-decoder checkpoint: checks its files, tokenizes and generates.

    Args:
        key: the recipe's key that names the checkpoint, for error messages.
        folder: the checkpoint's folder.
        architecture: the expected kind of checkpoint.
        tokenizing: arguments for creating the tokenizer.
    """

    def __init__(self, key: str, folder: Path, architecture: Architecture, **tokenizing: Any) -> None:
        super().__init__(key, folder)
        self.architecture, self._tokenizing = architecture, tokenizing
        self._model: Any = None
        self._at_once: defaultdict[int, Halving] = defaultdict(lambda: Halving(MOST))

    @cached_property
    def files(self) -> dict[str, Path]:
        """The files that are read, by name.

        Raises:
            UserError: a file is missing, the weights are a pickle, or the model is of another architecture.
        """
        wanted = self.architecture.model_type
        model_type = self.json("config.json").get("model_type", wanted)
        if model_type != wanted:
            raise UserError(f"{self.folder}/config.json: expected model_type {wanted}, found {model_type}", self.key)
        pickles = sorted(path.name for path in self.folder.glob("*.bin"))
        if pickles and not list(self.folder.glob(f"{WEIGHTS}*")):  # like many folders on the hub
            raise UserError(
                f"{self.folder} has no {WEIGHTS} but {pickles[0]}, a pickle, which is not opened; convert "
                f"it where you trust it: {CONVERT.format(self.folder)}",
                self.key,
            )
        others = ("generation_config.json", "tokenizer_config.json", *self.architecture.others)
        return self.listed(self.architecture.names, others)

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer. Raises UserError if it cannot be read, or has more tokens than the model."""
        import transformers

        kind = self.architecture.tokenizer
        with self.explained(self.folder, f"the files of a {kind}"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Marian's tokenizer recommends a package that it does not use
            tokenizer = getattr(transformers, kind).from_pretrained(self.folder, **LOCAL, **self._tokenizing)
            largest = max(tokenizer.get_vocab().values())
        if largest >= self.config.vocab_size:
            raise UserError(
                f"{self.folder}: expected tokens below config.json's vocab_size {self.config.vocab_size}, "
                f"found {largest} in the tokenizer's files",
                self.key,
            )
        return tokenizer

    @property
    def limit(self) -> int:
        """Largest number of tokens of one input, and of one output."""
        return int(min(self.config.max_position_embeddings, self.tokenizer.model_max_length))

    def check(self) -> None:
        """Builds the model with empty tensors of the shapes in the files; reads no weights.

        Raises:
            UserError: the folder is no checkpoint of this architecture, or its parts do not fit each other.
        """
        import torch

        self.check_index()
        # a tensor expanded from one number takes no memory, whatever its shape
        tensors = {name: torch.zeros(()).expand(shape) for name, shape in self.shapes().items()}
        self._build(tensors, torch.float32)

    def load(self) -> None:
        """Loads the weights: in float32 on a CPU, in bfloat16 on a GPU. Raises UserError as `check`."""
        import torch

        self.fit()
        where = device()
        dtype = torch.bfloat16 if where == "cuda" else torch.float32
        self._model = self._build(None, dtype).to(where).requires_grad_(False)

    def encode(self, text: str, prefix: str = "") -> list[int]:
        """Returns the token ids of a text, with the tokens that the architecture puts before and after it.

        Args:
            text: plain text; special tokens in it, such as `</s>`, are treated as ordinary characters.
            prefix: a token that is put before the text; "" for none.
        """
        code = [self.tokenizer.convert_tokens_to_ids(prefix)] if prefix else []
        plain = f" {text}" if text.startswith(">>") else text  # Marian's tokenizer takes ">>" for a language token
        return code + list(self.tokenizer(plain, split_special_tokens=True, verbose=False).input_ids)

    def generate(
        self, sources: Sequence[Sequence[int]], beams: int, first: int | None, batch_tokens: int
    ) -> list[Answer]:
        """Translates each source by beam search; `complete` says whether the model ended the target itself.

        Generation stops after twice as many tokens as the source has and 20 more: by then the model repeats itself. On
        a CPU sources are translated one at a time, so that a target does not depend on the other sources of a batch.

        Args:
            sources: token ids, at most `limit` for each source.
            beams: number of beams; 1 is greedy.
            first: the token that every target begins with, such as its language's; None for none.
            batch_tokens: largest number of source tokens, with padding, that a GPU is given at once.

        Returns:
            One answer for each source, in order.
        """
        targets: dict[int, Answer] = {}
        alone = self._model.device.type == "cpu"
        for batch in by_length([len(source) for source in sources], 0 if alone else batch_tokens):
            at_once = self._at_once[len(sources[batch[0]]).bit_length()]  # rows that fit depend on their length
            answers = at_once(batch, lambda part: self._generate([sources[n] for n in part], beams, first))
            targets |= dict(zip(batch, answers, strict=True))
        return [targets[n] for n in range(len(sources))]

    def _generate(self, sources: Sequence[Sequence[int]], beams: int, first: int | None) -> list[Answer]:
        import torch

        where, longest = self._model.device, len(sources[0])
        ids = torch.full((len(sources), longest), self.tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        for row, source in enumerate(sources):
            ids[row, : len(source)] = torch.tensor(source)
            mask[row, : len(source)] = 1
        with torch.inference_mode():
            output = self._model.generate(
                input_ids=ids.to(where),
                attention_mask=mask.to(where),
                num_beams=beams,
                forced_bos_token_id=first,
                max_new_tokens=self._room(longest),
            )
        begin = 1 if first is None else 2  # the decoder's start token, and the language
        return [self._answer(len(s), target[begin:]) for s, target in zip(sources, output.tolist(), strict=True)]

    def _room(self, tokens_in: int) -> int:
        """Returns the largest number of tokens of a target, including the language token and the end token."""
        return min(2 * tokens_in + 20, self.limit - 1)

    def _answer(self, tokens_in: int, target: list[int]) -> Answer:
        target, end = target[: self._room(tokens_in)], self.tokenizer.eos_token_id
        complete = end in target
        target = target[: target.index(end)] if complete else target
        text = self.tokenizer.decode(target, skip_special_tokens=True, **self.architecture.decoding)
        return Answer(text.strip(), complete, tokens_in=tokens_in, tokens_out=len(target))

    def _build(self, tensors: "Mapping[str, torch.Tensor] | None", dtype: "torch.dtype") -> Any:
        """Builds the model with the checkpoint's own settings of generation, except those that `generate` decides."""
        import transformers

        kind = self.architecture.model
        model = self.built(getattr(transformers, kind), tensors, f"the configuration of a {kind}", dtype=dtype)
        settings = model.generation_config
        if "generation_config.json" in self.files:
            with self.explained(self.files["generation_config.json"], "settings of generation"):
                settings = transformers.GenerationConfig.from_pretrained(self.folder, local_files_only=True)
        # A forced end token would make a truncated target look complete, and an unknown token leaves a gap in it:
        # Marian itself never writes one.
        unknown = self.tokenizer.unk_token_id
        settings.update(forced_eos_token_id=None, max_length=None, do_sample=False, suppress_tokens=[unknown])
        model.generation_config = settings
        return model


def by_length(lengths: Sequence[int], at_most: int) -> list[list[int]]:
    """Groups positions into batches of similar length, the longest first.

    Args:
        lengths: length of the item at each position.
        at_most: largest size of a batch, with padding (items times the longest length); a longer item forms a batch
            alone.
    """
    batches: list[list[int]] = []
    for n in sorted(range(len(lengths)), key=lambda n: -lengths[n]):
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= at_most:
            batches[-1].append(n)
        else:
            batches.append([n])
    return batches
