"""Tiny translation models with random weights, in folders as the hub has them; sentencepiece is trained on the spot."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sentencepiece
import torch

ENGLISH = (
    "A dog sits on a red mat.", "Two people walk along the beach, and a sign reads SALE.", "It is 3.5 m high!",
    'A poster says "X1" and "X2" in white letters; above it hangs a lamp.', "Is the man in black happy?",
    "Vases, quilts, jugs and boxes: all of them are for sale.",
)  # fmt: skip
CHINESE = (
    "一只狗坐在红色的垫子上。", "两个人沿着海滩散步，标牌上写着“打折”。", "它高3.5米！", "海报上写着“X1”和“X2”，上面挂着一盏灯。",
    "穿黑衣服的人高兴吗？", "花瓶、被子、水壶和盒子：全部出售；",
)  # fmt: skip


def opus(
    folder: Path,
    source: str = "en",
    targets: Sequence[str] = ("cmn_Hans", "cmn_Hant", "yue"),
    end: float = 0.0,
    seed: int = 0,
    **config: Any,
) -> Path:
    """Writes a Marian checkpoint of OPUS-MT: two sentencepiece models, and one vocabulary over both.

    Args:
        folder: the folder, which must not exist.
        source: "en" for a model into Chinese, "zh" for one into English.
        targets: target languages for which the model has tokens.
        end: number that is added to the logit of the token that ends a target.
        seed: seed of the weights.
        config: keys of the config that differ from the default.
    """
    from transformers import GenerationConfig, MarianConfig, MarianMTModel

    folder.mkdir(parents=True)
    texts = (ENGLISH, CHINESE) if source == "en" else (CHINESE, ENGLISH)
    names = ("source.spm", "target.spm")
    pieces = [_sentencepiece(lines, folder / name) for lines, name in zip(texts, names, strict=True)]
    ordinary = sorted({piece for some in pieces for piece in some} - {"<s>", "</s>", "<unk>"})
    vocabulary = ["</s>", "<unk>", *(f">>{target}<<" for target in targets), *ordinary, "<pad>"]
    (folder / "vocab.json").write_text(json.dumps({piece: n for n, piece in enumerate(vocabulary)}))
    languages = ("eng", "zho") if source == "en" else ("zho", "eng")
    (folder / "tokenizer_config.json").write_text(
        json.dumps(dict(zip(("source_lang", "target_lang"), languages, strict=True)) | {"model_max_length": 512})
    )
    pad = len(vocabulary) - 1
    settings = MarianConfig(
        vocab_size=len(vocabulary), d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64, activation_function="swish",
        scale_embedding=True, pad_token_id=pad, decoder_start_token_id=pad, eos_token_id=0, bos_token_id=0,
        **{"max_position_embeddings": 512, "init_std": 0.2} | config,
    )  # fmt: skip
    torch.manual_seed(seed)
    model = MarianMTModel(settings)
    model.final_logits_bias[0, 0] = end
    model.final_logits_bias[0, vocabulary.index("▁")] = -1e9  # a target of spaces says nothing
    model.generation_config = GenerationConfig(
        bad_words_ids=[[pad]], bos_token_id=0, decoder_start_token_id=pad, eos_token_id=0, forced_eos_token_id=0,
        max_length=512, num_beams=4, pad_token_id=pad, renormalize_logits=True,
    )  # fmt: skip
    return _saved(folder, model)


def nllb(folder: Path, languages: Sequence[str] = ("eng_Latn", "fra_Latn", "zho_Hans"), seed: int = 0) -> Path:
    """Writes an NLLB-200 checkpoint: one sentencepiece model for all languages, kept in tokenizer.json."""
    from transformers import M2M100Config, M2M100ForConditionalGeneration, NllbTokenizer
    from transformers.convert_slow_tokenizer import generate_merges

    folder.mkdir(parents=True)
    pieces = _sentencepiece((*ENGLISH, *CHINESE), folder / "sentencepiece.bpe.model", model_type="bpe")
    ordinary = [piece for piece in pieces if piece not in ("<s>", "</s>", "<unk>")]
    vocabulary = {piece: n for n, piece in enumerate(["<s>", "<pad>", "</s>", "<unk>", *ordinary])}
    scores = {piece: -n for piece, n in vocabulary.items()}
    tokenizer = NllbTokenizer(
        vocab=vocabulary, merges=generate_merges(vocabulary, scores), extra_special_tokens=list(languages),
        src_lang=languages[0], model_max_length=1024,
    )  # fmt: skip
    tokenizer.save_pretrained(folder)
    settings = M2M100Config(
        vocab_size=len(tokenizer) + 2, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64, max_position_embeddings=512, init_std=0.2,
        bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2, encoder_layerdrop=0,
        decoder_layerdrop=0,
    )  # fmt: skip
    torch.manual_seed(seed)
    return _saved(folder, M2M100ForConditionalGeneration(settings))


def _sentencepiece(lines: Sequence[str], file: Path, model_type: str = "unigram") -> list[str]:
    """Trains a model on the lines, writes it, and returns its pieces."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*lines] * 4), model_writer=written, model_type=model_type, vocab_size=160,
        hard_vocab_limit=False, character_coverage=1.0, num_threads=1, minloglevel=2,
    )  # fmt: skip
    file.write_bytes(written.getvalue())
    processor = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())
    return [processor.id_to_piece(n) for n in range(processor.get_piece_size())]


def _saved(folder: Path, model: Any) -> Path:
    from transformers.utils import logging

    logging.disable_progress_bar()
    with torch.no_grad():  # zeros, as fresh biases are, would hide a tensor that is not loaded
        for name, tensor in model.named_parameters():
            if "embed_positions" not in name:
                tensor.add_(torch.randn_like(tensor) * 0.1)
    model.save_pretrained(folder)
    return folder
