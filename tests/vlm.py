"""Tiny image-text-to-text checkpoints with random weights, in folders as the hub has them."""

from pathlib import Path
from typing import Any

import torch

CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LAYERS = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
DULL = 0.2
"""Standard deviation of the weights, so large that picture and prompt change the answer."""


def qwen2_vl(folder: Path, seed: int = 0) -> Path:
    """Writes a Qwen2-VL, in which a picture has tokens by its size, and positions in three dimensions."""
    from transformers import (
        Qwen2VLConfig,
        Qwen2VLForConditionalGeneration,
        Qwen2VLImageProcessor,
        Qwen2VLProcessor,
        Qwen2VLVideoProcessor,
    )

    pad, video, start, end = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
    tokenizer = _tokenizer(pad, video, start, end)
    ids = {f"{name}_token_id": tokenizer.convert_tokens_to_ids(token) for name, token in
           (("image", pad), ("video", video), ("vision_start", start), ("vision_end", end))}  # fmt: skip
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
    config = Qwen2VLConfig(
        text_config=LAYERS | _ends(tokenizer) | {"num_key_value_heads": 1, "rope_parameters": rope},
        vision_config={"depth": 1, "embed_dim": 32, "num_heads": 2, "hidden_size": 32, "mlp_ratio": 2},
        initializer_range=DULL, tie_word_embeddings=True, **ids,
    )  # fmt: skip
    size = {"shortest_edge": 56 * 56, "longest_edge": 280 * 280}
    processor = Qwen2VLProcessor(
        Qwen2VLImageProcessor(size=size), tokenizer, Qwen2VLVideoProcessor(size=size),
        chat_template=CHAT.replace("IMAGE", start + pad + end),
    )  # fmt: skip
    return _saved(folder, Qwen2VLForConditionalGeneration, config, processor, seed)


def internvl(folder: Path, seed: int = 0) -> Path:
    """Writes an InternVL, which cuts a picture into tiles, each of as many tokens, and a small one of the whole."""
    from transformers import (
        GotOcr2ImageProcessor,
        InternVLConfig,
        InternVLForConditionalGeneration,
        InternVLProcessor,
        InternVLVideoProcessor,
    )

    tokenizer = _tokenizer("<img>", "</img>", "<IMG_CONTEXT>", "<video>")
    for name, token in (("start_image", "<img>"), ("end_image", "</img>"), ("context_image", "<IMG_CONTEXT>"),
                        ("video", "<video>")):  # fmt: skip
        tokenizer._set_model_specific_special_tokens({f"{name}_token": token})
    config = InternVLConfig(
        text_config={"model_type": "qwen2", "num_key_value_heads": 1} | LAYERS | _ends(tokenizer),
        vision_config=LAYERS | {"image_size": [56, 56], "num_hidden_layers": 1},
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"), image_seq_length=4, initializer_range=DULL,
    )  # fmt: skip
    pictures = GotOcr2ImageProcessor(size={"height": 56, "width": 56}, crop_to_patches=True, max_patches=4)
    processor = InternVLProcessor(
        pictures,
        tokenizer,
        InternVLVideoProcessor(),
        image_seq_length=4,
        chat_template=CHAT.replace("IMAGE", "<IMG_CONTEXT>"),
    )
    return _saved(folder, InternVLForConditionalGeneration, config, processor, seed)


def _tokenizer(*special: str) -> Any:
    """Returns a tokenizer with a token for each byte; `<|im_end|>` ends a text, `<|endoftext|>` pads it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({char: i for i, char in enumerate(alphabet)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>", *special])
    return PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|endoftext|>", padding_side="right"
    )


def _ends(tokenizer: Any) -> dict[str, int]:
    return {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": tokenizer.pad_token_id}  # fmt: skip


def _saved(folder: Path, model: Any, config: Any, processor: Any, seed: int) -> Path:
    torch.manual_seed(seed)
    made = model(config)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=DULL)
    made.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
