"""Encoder-decoders from a local folder: the library's own tokens, and what is refused before work starts."""

import json
import os
import re
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from curation.captions.backends.marian import ARCHITECTURE as MARIAN
from curation.captions.backends.nllb import ARCHITECTURE as NLLB
from curation.errors import UserError
from curation.models.text.generation import Answer
from curation.models.text.seq2seq import Seq2SeqCheckpoint, by_length
from tests import translators

KEY = "captions.translator.checkpoint"
TEXTS = ["A dog", *translators.ENGLISH[:4]]


pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]


def opus(folder: Path) -> Path:
    return translators.opus(folder, end=2.0, seed=1)


def checkpoint(folder: Path) -> Seq2SeqCheckpoint:
    if json.loads((folder / "config.json").read_text())["model_type"] == "marian":
        return Seq2SeqCheckpoint(KEY, folder, MARIAN)
    return Seq2SeqCheckpoint(KEY, folder, NLLB, src_lang="eng_Latn")


def loaded(folder: Path) -> Seq2SeqCheckpoint:
    found = checkpoint(folder)
    found.check()
    found.load()
    return found


def generated(
    checkpoint: Seq2SeqCheckpoint, texts: list[str], beams: int = 2, batch_tokens: int = 1000
) -> list[Answer]:
    return checkpoint.generate([checkpoint.encode(text) for text in texts], beams, None, batch_tokens)


@pytest.mark.parametrize("beams", [1, 4])
@pytest.mark.parametrize("make", [opus, translators.nllb])
def test_targets_equal_the_librarys_own(tmp_path: Path, make: Callable[[Path], Path], beams: int) -> None:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    folder = make(tmp_path / "tiny")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
    model.generation_config.update(forced_eos_token_id=None, suppress_tokens=[tokenizer.unk_token_id])
    first = tokenizer.convert_tokens_to_ids("zho_Hans") if make is translators.nllb else None
    found = loaded(folder)
    answers = found.generate([found.encode(text) for text in TEXTS], beams, first, 1000)
    for text, answer in zip(TEXTS, answers, strict=True):
        ids = tokenizer(text, return_tensors="pt")
        assert found.encode(text) == ids.input_ids[0].tolist()
        room = 2 * answer.tokens_in + 20
        with torch.inference_mode():
            own = model.generate(**ids, num_beams=beams, max_new_tokens=room, forced_bos_token_id=first)[0].tolist()
        assert answer.text == tokenizer.decode(own, skip_special_tokens=True).strip()
        assert answer.complete == (tokenizer.eos_token_id in own[1:])
        assert answer.tokens_in == ids.input_ids.shape[1]
        assert answer.tokens_out == len(own) - 1 - (first is not None) - answer.complete
    assert len({answer.text for answer in answers}) > 1  # it does look at the source


@pytest.mark.parametrize("make", [opus, translators.nllb])
def test_a_target_does_not_depend_on_its_batch(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    found = loaded(make(tmp_path / "tiny"))
    together = generated(found, TEXTS)
    assert [generated(found, [text])[0] for text in TEXTS] == together
    assert generated(found, TEXTS[::-1]) == together[::-1]
    assert generated(found, TEXTS[2:4] * 2) == together[2:4] * 2
    assert generated(found, []) == []


@pytest.mark.parametrize("make", [opus, translators.nllb])
def test_padding_is_not_looked_at(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    """What a GPU is given at once: the longest first, the others padded to it."""
    found = loaded(make(tmp_path / "tiny"))
    sources = sorted((found.encode(text) for text in TEXTS), key=len, reverse=True)
    assert found._generate(sources, 1, None) == [found._generate([source], 1, None)[0] for source in sources]


def test_batches_are_of_one_length_and_within_the_budget() -> None:
    lengths = [5, 100, 6, 7, 30, 31, 5]
    assert by_length(lengths, 0) == [[n] for n in (1, 5, 4, 3, 2, 0, 6)]
    assert by_length(lengths, 64) == [[1], [5, 4], [3, 2, 0, 6]]
    assert sorted(n for batch in by_length(lengths, 20) for n in batch) == list(range(7))
    assert by_length([], 64) == []


def test_the_size_that_went_is_remembered_for_sources_of_that_length(tmp_path: Path) -> None:
    class Scarce(Seq2SeqCheckpoint):
        """On a device that takes 64 tokens at once."""

        calls: list[tuple[int, int]] = []

        def _generate(self, sources: Sequence[Sequence[int]], beams: int, first: int | None) -> list[Answer]:
            self.calls.append((len(sources), len(sources[0])))
            if len(sources) * len(sources[0]) > 64:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return [Answer(str(source[0])) for source in sources]

    found = Scarce(KEY, tmp_path, MARIAN)
    found._model = SimpleNamespace(device=torch.device("meta"))
    sources = [[n] * 16 for n in range(16)]
    for _ in range(2):
        assert [answer.text for answer in found.generate(sources, 1, None, 256)] == [str(n) for n in range(16)]
    assert found.calls == [(16, 16), (8, 16), *[(4, 16)] * 8]
    found.calls.clear()
    found.generate([[n] * 4 for n in range(16)], 1, None, 256)
    assert found.calls == [(16, 4)]  # of short ones more fit


def test_weights_that_are_larger_than_the_memory_are_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = checkpoint(opus(tmp_path / "tiny"))
    pages = os.sysconf
    monkeypatch.setattr(os, "sysconf", lambda name: 2 if name == "SC_PHYS_PAGES" else pages(name))
    with pytest.raises(UserError, match=rf"^{KEY}: {found.folder}: the weights take 0.\d GB of memory in float32; "):
        found.load()


def test_an_index_that_transformers_does_not_read_is_refused(tmp_path: Path) -> None:
    folder = opus(tmp_path / "tiny")
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    with safe_open(folder / "a.safetensors", "pt") as file:
        names = list(file.keys())
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": dict.fromkeys(names, "a.safetensors")}))
    with pytest.raises(UserError, match=rf'^{KEY}: {index}: expected "metadata" beside the weight_map, .*add "metad'):
        checkpoint(folder).check()
    index.write_text(json.dumps({"metadata": {}, "weight_map": dict.fromkeys(names, "a.safetensors")}))
    assert generated(loaded(folder), TEXTS[:1])


def test_a_target_without_an_end_is_given_up_and_said_to_be_cut(tmp_path: Path) -> None:
    """Although the checkpoint would force an end upon it, as OPUS-MT's do."""
    found = loaded(translators.opus(tmp_path / "tiny", end=-1e9))
    for text, answer in zip(TEXTS, generated(found, TEXTS), strict=True):
        assert not answer.complete and answer.tokens_out == 2 * len(found.encode(text)) + 20
    ends = loaded(translators.opus(tmp_path / "ends", end=1e9))
    assert generated(ends, TEXTS[:1])[0] == Answer("", True, tokens_in=len(ends.encode(TEXTS[0])))


def test_no_target_is_longer_than_the_models_positions(tmp_path: Path) -> None:
    found = loaded(translators.opus(tmp_path / "tiny", end=-1e9, max_position_embeddings=32))
    assert found.limit == 32
    assert generated(found, ["A dog sits on a red"])[0].tokens_out == 31


@pytest.mark.parametrize("make", [opus, translators.nllb])
def test_tokens_written_out_in_a_text_are_no_commands(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    found = checkpoint(make(tmp_path / "tiny"))
    ids = found.encode("A </s> dog <pad> zho_Hans")
    assert ids.count(found.tokenizer.eos_token_id) == 1 and found.tokenizer.pad_token_id not in ids
    code = found.tokenizer.convert_tokens_to_ids(">>yue<<" if make is opus else "zho_Hans")
    assert code != found.tokenizer.unk_token_id and code not in found.encode(">>yue<< A dog zho_Hans")


def test_settings_of_generation_may_stand_in_the_configuration(tmp_path: Path) -> None:
    """As in folders that were written before there was a generation_config.json, weights in half precision, in parts."""
    folder = opus(tmp_path / "tiny")
    before = generated(loaded(folder), TEXTS)
    (settings := folder / "generation_config.json").rename(tmp_path / "away.json")
    given = json.loads((tmp_path / "away.json").read_text())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(given | config | {"add_final_layer_norm": False, "num_beams": 6}))
    assert not settings.exists() and generated(loaded(folder), TEXTS) == before
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    parts = [dict(list(tensors.items())[n::2]) for n in (0, 1)]
    for n, part in enumerate(parts):
        save_file(part, folder / f"{n}.safetensors")
    files = {name: f"{n}.safetensors" for n, part in enumerate(parts) for name in part}
    index = {"metadata": {"total_size": 0}, "weight_map": files}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert generated(loaded(folder), TEXTS) == before
    (folder / "1.safetensors").unlink()
    with pytest.raises(UserError, match=f"^{KEY}: {folder} has no 1.safetensors; found 0.safetensors, config.json"):
        checkpoint(folder).check()


class Touch:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch ran",)


def changed(folder: Path, change: str) -> Path:
    """A Marian folder with one thing wrong."""
    opus(folder)
    weights, config = folder / "model.safetensors", folder / "config.json"
    tensors, described = load_file(weights), json.loads(config.read_text())
    vocabulary = json.loads((folder / "vocab.json").read_text())
    match change.split():
        case ["no", name]:
            (folder / name).unlink()
        case ["pickle"]:
            torch.save({"a": Touch()}, folder / "pytorch_model.bin")
            weights.unlink()
        case ["cut"]:
            weights.write_bytes(weights.read_bytes()[:2000])
        case ["torn", name]:
            (folder / name).write_bytes((folder / name).read_bytes()[:50])
        case ["tensor"]:
            save_file({n: t for n, t in tensors.items() if "decoder.layers.1.fc1" not in n}, weights)
        case ["shape"]:
            config.write_text(json.dumps(described | {"encoder_ffn_dim": 60}))
        case ["kind"]:
            config.write_text(json.dumps(described | {"model_type": "t5"}))
        case ["list"]:
            config.write_text("[]")
        case ["code"]:
            config.write_text(json.dumps(described | {"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}))
            (folder / "own.py").write_text("import os\nos.system('touch ran')\n")
        case ["vocabulary"]:
            (folder / "vocab.json").write_text(json.dumps(vocabulary | {"extra": len(vocabulary) + 4}))
        case ["settings"]:
            (folder / "generation_config.json").write_text("[]")
        case ["path"]:
            weights.rename(folder.parent / "b.safetensors")
            (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../b.safetensors"}}))
    return folder


@pytest.mark.parametrize(("change", "says"), [
    ("no config.json", " has no config.json; found generation_config.json, model.safetensors, source.spm"),
    ("no source.spm", " has no source.spm; found config.json"), ("no target.spm", " has no target.spm; found config.json"),
    ("no vocab.json", " has no vocab.json; found config.json"),
    ("no model.safetensors", " has no model.safetensors; found config.json"),
    ("pickle", " has no model.safetensors but pytorch_model.bin, a pickle, which is not opened; convert it where you trust it: python -c "),
    ("cut", "/model.safetensors is no safetensors file: "),
    ("torn config.json", "/config.json is no JSON: "),
    ("torn source.spm", ": expected the files of a MarianTokenizer: "),
    ("torn vocab.json", ": expected the files of a MarianTokenizer: "),
    ("tensor", "/model.safetensors: expected the tensor model.decoder.layers.1.fc1.bias and 1 more, found none"),
    ("shape", r"/model.safetensors: model.encoder.layers.0.fc1.bias: expected \[60\] by config.json, found \[64\]"),
    ("kind", "/config.json: expected model_type marian, found t5"),
    ("list", "/config.json: expected a JSON object, found list"),
    ("code", "/config.json: expected model_type marian, found own"),
    ("vocabulary", r": expected tokens below config.json's vocab_size \d+, found \d+ in the tokenizer's files"),
    ("settings", "/generation_config.json: expected settings of generation: "),
    ("path", "/model.safetensors.index.json: expected a weight_map of file names"),
])  # fmt: skip
def test_a_wrong_checkpoint_is_refused_before_work_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], change: str, says: str
) -> None:
    folder = changed(tmp_path / "tiny", change)
    monkeypatch.chdir(tmp_path)
    capfd.readouterr()
    with pytest.raises(UserError, match=rf"^{KEY}: {folder}{says}") as caught:
        Seq2SeqCheckpoint(KEY, folder, MARIAN).check()
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    assert not (tmp_path / "ran").exists()
    assert capfd.readouterr() == ("", "")  # nor does transformers print what it makes of it


def test_the_command_that_converts_a_pickle_does(tmp_path: Path) -> None:
    folder = opus(tmp_path / "tiny")
    before = generated(loaded(folder), TEXTS[:2])
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError) as caught:
        checkpoint(folder).check()
    said = re.search(r'python -c "(.+)"$', str(caught.value))
    assert said
    exec(said[1], {})
    assert generated(loaded(folder), TEXTS[:2]) == before


def test_a_pickle_beside_the_weights_is_not_read(tmp_path: Path) -> None:
    folder = opus(tmp_path / "tiny")
    (folder / "pytorch_model.bin").write_bytes(b"no pickle")
    assert "pytorch_model.bin" not in checkpoint(folder).files
    assert generated(loaded(folder), TEXTS[:1])


@pytest.mark.parametrize("make", [opus, translators.nllb])
def test_nothing_is_asked_of_a_hub_and_nothing_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], make: Callable[[Path], Path]
) -> None:
    folder = make(tmp_path / "tiny")
    capfd.readouterr()
    asked: list[object] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **_: asked.append(address))
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: asked.append(address))
    generated(loaded(folder), TEXTS[:2])
    assert not asked and capfd.readouterr() == ("", "")


def test_the_check_reads_no_weights(tmp_path: Path) -> None:
    """Their bytes may be anything: names and shapes stand in the header."""
    folder = opus(tmp_path / "tiny")
    file = folder / "model.safetensors"
    data = bytearray(file.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    data[start:] = b"\xff" * (len(data) - start)
    file.write_bytes(data)
    checkpoint(folder).check()
