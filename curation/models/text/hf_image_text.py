"""Asks any image-text-to-text checkpoint folder that transformers itself supports about one image.

Qwen-VL, InternVL, GLM-4V, LLaVA and similar models differ in the number and place of a picture's tokens; their
processors and chat templates, which come with the checkpoint as data, take care of that.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from curation.errors import UserError
from curation.models.device import device
from curation.models.hf_folder import LOCAL, HfFolder
from curation.models.text.generation import Answer, SeededSampling, after_thought

PROCESSORS = ("processor_config.json", "preprocessor_config.json")
TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt", "*.model")
"""Patterns of tokenizer files, of which one must exist."""
READ = ("*.json", "*.jinja", "*.model", "*.txt")
"""Patterns of the files that transformers may read beside the weights."""
WANTED = "an image-text-to-text model's configuration"
WIDE = 8
"""Number of tensors of the widest layer's width that a token needs while the prompt is read; an upper estimate."""
LOGITS = 32
"""Bytes that a row needs for each token of the vocabulary while sampling: several copies of the logits in float32."""
PATCHES = 4
"""Number of the vision tower's patches for one token of the language model."""
RATIOS = (1, 4 / 3, 3 / 2, 2, 3)
"""Aspect ratios, either way round, of the blank pictures that are tried to find the largest number of tokens: for
processors that cut pictures into tiles, the square need not have the most."""
_ANSWER = re.compile(r"</?answer>")


class ImageText(HfFolder):
    """One image-text-to-text checkpoint: checks its files, and writes texts about pictures."""

    def __init__(self, key: str, folder: Path) -> None:
        super().__init__(key, folder)
        self.model: Any = None

    @cached_property
    def files(self) -> dict[str, Path]:
        """The files that are read, by name. Raises UserError as `listed` does."""
        names = ["tokenizer_config.json"]
        for choice in (PROCESSORS, TOKENIZERS):
            if not any(path.is_file() for pattern in choice for path in self.folder.glob(pattern)):
                names.append(choice[0])
        return self.listed(names, READ)

    @cached_property
    def config(self) -> Any:
        """The model's configuration. Raises UserError as `HfFolder.config` does."""
        from transformers import CONFIG_MAPPING

        raw = self.json("config.json")
        if "auto_map" in raw and raw.get("model_type") not in CONFIG_MAPPING:
            raise UserError(
                f"{self.files['config.json']}: expected an architecture of transformers' own, found "
                f"{raw.get('model_type')}, whose code comes with the checkpoint (auto_map) and is not run; fetch its "
                "conversion for transformers if there is one: often the same name with -hf",
                self.key,
            )
        return super().config

    @cached_property
    def processor(self) -> Any:
        """Tokenizer, image processor and chat template, with padding on the left. Raises UserError if one is absent."""
        from transformers import AutoProcessor

        with self.explained(self.folder, "the files of a processor for images and text"):
            processor = AutoProcessor.from_pretrained(self.folder, **LOCAL)
        for part in ("tokenizer", "image_processor"):
            if getattr(processor, part, None) is None:
                raise UserError(
                    f"{self.folder}: expected a processor with {part}, found {type(processor).__name__}", self.key
                )
        if not processor.chat_template:
            raise UserError(
                f"{self.folder} has no chat template; expected chat_template.jinja, or chat_template in "
                "processor_config.json: is it the chat version of the model?",
                self.key,
            )
        processor.tokenizer.padding_side = "left"
        if processor.tokenizer.pad_token is None:
            processor.tokenizer.pad_token = processor.tokenizer.eos_token
        return processor

    def check(self, side: int) -> None:
        """Builds the model without memory, from the names and shapes in the files, and processes blank pictures.

        Args:
            side: largest long side in pixels of the pictures.

        Raises:
            UserError: the folder is no checkpoint of an image-text-to-text model, or its parts do not fit each other.
        """
        import torch
        from transformers import AutoModelForImageTextToText

        self.check_index()
        tensors = {name: torch.empty(shape, device="meta") for name, shape in self.shapes().items()}
        kind = self.kind(AutoModelForImageTextToText, WANTED)
        self.built(kind, tensors, WANTED, device_map="meta", dtype=torch.bfloat16)
        ids, vocabulary = self._blanks(side)["input_ids"], self.config.get_text_config().vocab_size
        if int(ids.max()) >= vocabulary:
            raise UserError(
                f"{self.folder}: expected tokens below config.json's vocab_size {vocabulary}, found "
                f"{int(ids.max())} from the tokenizer",
                self.key,
            )
        image = getattr(self.config, "image_token_id", None)
        if image is not None and not bool((ids == image).any()):
            raise UserError(
                f"{self.folder}: expected the token {image} (config.json's image_token_id) for a picture, "
                "found none of it in what chat template and processor make",
                self.key,
            )

    def load(self, spread: bool = False) -> None:
        """Loads the weights, each straight onto its device: in float32 on a CPU, in bfloat16 on a GPU.

        Args:
            spread: whether to spread the model over all GPUs, and the CPU's memory if they are too small
                (`device_map="auto"`).

        Raises:
            UserError: the model does not fit into memory (see `fit`), or its parts do not fit together (see `check`).
        """
        import torch
        from transformers import AutoModelForImageTextToText, GenerationConfig

        self.fit(spread)

        where = device()
        dtype = torch.bfloat16 if where == "cuda" else torch.float32
        kind = self.kind(AutoModelForImageTextToText, WANTED)
        model = self.built(kind, None, WANTED, dtype=dtype, device_map="auto" if spread else where)
        tokenizer, settings = self.processor.tokenizer, model.generation_config
        # no other setting of the checkpoint: a repetition penalty would count the padding
        model.generation_config = GenerationConfig(
            do_sample=False,
            num_beams=1,
            eos_token_id=settings.eos_token_id if settings.eos_token_id is not None else tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        self.model = model.requires_grad_(False)

    def row_bytes(self, side: int, new: int) -> int:
        """Returns the largest memory, in bytes, that a row needs: key-value cache, widest activations, logits.

        Args:
            side: long side in pixels of the row's picture.
            new: number of tokens of the row's answer.
        """
        text, size = self.config.get_text_config(), self.model.dtype.itemsize
        vision = getattr(self.config, "vision_config", text)
        seen = self._blanks(side)["input_ids"].shape[1]  # the longest row's, to which the others are padded
        heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
        width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        kept = 2 * text.num_hidden_layers * heads * width * (seen + new)
        widest = max(_width(text), PATCHES * (_width(vision) or _width(text)))
        return size * (kept + WIDE * seen * widest) + LOGITS * text.vocab_size

    def write(
        self,
        pictures: Sequence[np.ndarray],
        prompts: Sequence[str],
        seeds: Sequence[int | None],
        limit: int,
        sampling: Mapping[str, float] | None = None,
    ) -> list[Answer]:
        """Returns one answer for each picture, in order.

        Args:
            pictures: uint8 (H, W, 3), channels R, G, B.
            prompts: one for each picture.
            seeds: one for each picture; None for greedy decoding.
            limit: largest number of tokens of an answer.
            sampling: values of `temperature` and `top_p`; None for the defaults of SeededSampling.

        Raises:
            torch.OutOfMemoryError: the pictures are too many for the memory.
        """
        import torch

        inputs = self.inputs(pictures, prompts).to(self.model.device, self.model.dtype)
        sampler = [SeededSampling(seeds, **sampling or {})] if any(seed is not None for seed in seeds) else []
        with torch.inference_mode():
            output = self.model.generate(**inputs, max_new_tokens=limit, logits_processor=sampler)
        written = output[:, inputs["input_ids"].shape[1] :].tolist()
        return [self._answer(ids, n) for ids, n in zip(written, inputs["attention_mask"].sum(1).tolist(), strict=True)]

    def inputs(self, pictures: Sequence[np.ndarray], prompts: Sequence[str]) -> Any:
        """Returns the model's inputs for pictures and prompts: tensors by name, padded on the left."""
        texts = [self._chat(prompt) for prompt in prompts]
        images = [[Image.fromarray(picture)] for picture in pictures]
        begin = self.processor.tokenizer.bos_token  # some chat templates contain it, and tokenizers would add another
        add = not begin or not texts[0].startswith(begin)
        return self.processor(images=images, text=texts, padding=True, return_tensors="pt", add_special_tokens=add)

    def _chat(self, prompt: str) -> str:
        """Returns picture and prompt in the checkpoint's chat template; special tokens in the prompt are removed."""
        for token in self._special:
            prompt = prompt.replace(token, " ")
        messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}]
        thinks = "enable_thinking" in str(self.processor.chat_template)
        settings = {"enable_thinking": False} if thinks else {}
        return self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False, **settings)

    @cached_property
    def _special(self) -> list[str]:
        tokenizer = self.processor.tokenizer
        added = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
        return sorted({*added, *tokenizer.all_special_tokens}, key=len, reverse=True)

    def _blanks(self, side: int) -> Any:
        """Returns the model's inputs for black pictures of several aspect ratios."""
        sizes = {size for r in RATIOS for size in ((round(side / r), side), (side, round(side / r)))}
        with self.explained(self.folder, "a chat template and a processor that take a picture and a text"):
            return self.inputs([np.zeros((*size, 3), np.uint8) for size in sorted(sizes)], ["Describe."] * len(sizes))

    def _answer(self, ids: list[int], asked: int) -> Answer:
        ends = self.model.generation_config.eos_token_id
        ends = set(ends if isinstance(ends, list) else [ends])
        end = next((i for i, token in enumerate(ids) if token in ends), None)
        text = self.processor.tokenizer.decode(ids[:end], skip_special_tokens=True)
        out = len(ids) if end is None else end + 1
        return Answer(without_thought(text), end is not None, tokens_in=asked, tokens_out=out)


def without_thought(text: str) -> str:
    """Removes the thought that a model wrote in `<think>` before its answer, and `<answer>` tags around the answer."""
    return _ANSWER.sub("", after_thought(text)).strip()


def _width(config: Any) -> int:
    """Returns the width of a tower's widest layer; 0 if the configuration does not say, as with timm's towers."""

    def size(name: str) -> int:
        value = getattr(config, name, None) or 0
        return max(value) if isinstance(value, (list, tuple)) else value  # one number for each stage

    return size("intermediate_size") or 4 * (size("embed_dim") or size("hidden_size"))
