"""Tiny checkpoints of CogVLM with random weights, in folders as the hub has it, and a tokenizer like Vicuna's."""

import io
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

VISION: dict[str, Any] = {
    "dropout_prob": 0.0, "hidden_act": "gelu", "hidden_size": 24, "image_size": 28, "in_channels": 3,
    "intermediate_size": 40, "layer_norm_eps": 1e-6, "num_heads": 2, "num_hidden_layers": 2, "num_positions": 5,
    "patch_size": 14,
}  # fmt: skip
CONFIG: dict[str, Any] = {
    "architectures": ["CogVLMForCausalLM"],
    "auto_map": {"AutoConfig": "configuration_cogvlm.CogVLMConfig",
                 "AutoModelForCausalLM": "modeling_cogvlm.CogVLMForCausalLM"},
    "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 32, "initializer_range": 0.02,
    "intermediate_size": 48, "max_position_embeddings": 128, "num_attention_heads": 4, "num_hidden_layers": 2,
    "pad_token_id": 0, "rms_norm_eps": 1e-6, "template_version": "chat", "tie_word_embeddings": False,
    "torch_dtype": "bfloat16", "transformers_version": "4.35.0", "use_cache": True, "vision_config": VISION,
    "vocab_size": 420,
}  # fmt: skip
"""The keys of the official config.json. An image has 4 patches, so that it is 6 tokens."""
IMAGE_TOKENS = 6

SENTENCES = (
    "Question: Describe this image and its style in a very detailed manner. Answer:",
    "Question: What is written on the sign, and what stands beside it? Answer:",
    "The image shows a small red boat on a calm lake, with trees and hills in the background.",
    "A woman in a green coat holds two cups of coffee in front of an old brick wall with the words OPEN DAILY.",
    "Three children play football on wet grass while a brown dog runs after the ball.",
)


def model(seed: int = 0, **config: Any) -> Any:
    """Makes a tiny model in float32, all of whose parameters are random."""
    from curation.models.cogvlm.config import CogVLMConfig
    from curation.models.cogvlm.model import CogVLMForCausalLM

    made = CogVLMForCausalLM(CogVLMConfig.from_dict(CONFIG | config)).eval().requires_grad_(False)
    drawn = torch.Generator().manual_seed(seed)
    for name, parameter in made.named_parameters():
        noise = torch.randn(parameter.shape, generator=drawn)
        parameter.data = 1 + 0.1 * noise if "norm" in name and name.endswith("weight") else 0.25 * noise
    return made


def folder(
    path: Path, seed: int = 0, shards: int = 1, inv_freq: bool = False, tokenizer: bool = True, **config: Any
) -> Path:
    """Writes a checkpoint folder as the hub has it, and returns it.

    Args:
        path: the folder, which must not exist.
        seed: seed of the weights.
        shards: number of files of weights; with more than one there is an index.
        inv_freq: whether the weights include the constants that the official files may hold.
        tokenizer: whether the tokenizer lies beside the weights.
        config: keys of the config that differ from CONFIG.
    """
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(CONFIG | config))
    (path / "generation_config.json").write_text(json.dumps({"do_sample": True, "temperature": 9.0, "max_length": 3}))
    tensors = {name: tensor.contiguous() for name, tensor in model(seed, **config).state_dict().items()}
    if inv_freq:
        extra = torch.ones(4)
        tensors |= {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": extra.clone() for i in range(2)}
    if shards == 1:
        save_file(tensors, path / "model.safetensors", {"format": "pt"})
    else:
        files = {name: f"model-{i % shards + 1:05d}-of-{shards:05d}.safetensors" for i, name in enumerate(tensors)}
        for file in set(files.values()):
            save_file({n: t for n, t in tensors.items() if files[n] == file}, path / file, {"format": "pt"})
        size = sum(t.nbytes for t in tensors.values())
        index = {"metadata": {"total_size": size}, "weight_map": files}
        (path / "model.safetensors.index.json").write_text(json.dumps(index))
    if tokenizer:
        vicuna(path)
    return path


def vicuna(path: Path) -> Path:
    """Writes a tokenizer of the same kind as Vicuna's, of 420 tokens, trained on SENTENCES; returns its folder."""
    import sentencepiece

    path.mkdir(parents=True, exist_ok=True)
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 4), model_writer=trained, model_type="bpe", vocab_size=420,
        byte_fallback=True, split_digits=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
        character_coverage=0.9999, unk_id=0, bos_id=1, eos_id=2, pad_id=-1, minloglevel=9, num_threads=1,
    )  # fmt: skip
    (path / "tokenizer.model").write_bytes(trained.getvalue())
    settings = {
        "tokenizer_class": "LlamaTokenizer", "legacy": False, "add_bos_token": True, "add_eos_token": False,
        "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": None, "model_max_length": 4096,
    }  # fmt: skip
    (path / "tokenizer_config.json").write_text(json.dumps(settings))
    return path
