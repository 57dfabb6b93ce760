"""The folder of models: what is found in it, what is refused, and what is remembered."""

import hashlib
import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from curation.errors import UserError
from curation.models import checkpoints
from curation.models.checkpoints import Models, read_tensors

KEY = "signals.x.checkpoint"


@pytest.mark.parametrize(("folder", "name", "says"), [
    (None, "clip-l14", f"{KEY}: clip-l14 lies in the folder of models; say where that is by `models:` or CURATE_MODELS"),
    ("nowhere", "clip-l14", f"{KEY}: the folder of models .*nowhere is not there"),
    ("models", "clip-14l", f'{KEY}: no clip-14l in .*models; did you mean "clip-l14"\\?; `curate doctor`'),
    ("models", "/no/such/file.pt", f"{KEY}: /no/such/file.pt is not there"),
])  # fmt: skip
def test_what_is_missing_is_one_line(tmp_path: Path, folder: str | None, name: str, says: str) -> None:
    (tmp_path / "models" / "clip-l14").mkdir(parents=True)
    with pytest.raises(UserError, match=f"^{says}"):
        Models(tmp_path / folder if folder else None).find(KEY, name)


def test_a_checkpoint_is_found_by_name_and_by_absolute_path(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert Models(tmp_path).find(KEY, "a/b") == tmp_path / "a" / "b"
    assert Models().find(KEY, str(tmp_path / "a")) == tmp_path / "a"


def test_the_digest_of_a_large_file_is_kept_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "LARGE", 10)
    hashed: list[Path] = []
    real = checkpoints.file_digest
    monkeypatch.setattr(checkpoints, "file_digest", lambda path: hashed.append(path) or real(path))
    file, kept = tmp_path / "weights", tmp_path / "work" / "digests.json"
    file.write_bytes(b"0123456789")
    first = Models(tmp_path, kept).digest(file)
    assert Models(tmp_path, kept).digest(file) == first and hashed == [file]
    kept.write_text("{torn")
    assert Models(tmp_path, kept).digest(file) == first and len(hashed) == 2
    file.write_bytes(b"9876543210")
    os.utime(file, (1, 1))
    assert Models(tmp_path, kept).digest(file) != first and len(json.loads(kept.read_text())) == 1


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("true",)


@pytest.mark.parametrize(("name", "data", "says"), [
    ("a.safetensors", b"no such thing", "is no safetensors file"),
    ("a.safetensors", b"", "is no safetensors file"),
    ("a.pth", b"no such thing", "is a pickle of more than tensors|is no checkpoint that PyTorch can read"),
    ("a.pth", b"", "is no checkpoint that PyTorch can read"),
    ("a.pth", pickle.dumps(Evil()), "is a pickle of more than tensors, and not opened \\(Unsupported operand"),
])  # fmt: skip
def test_a_broken_or_hostile_file_is_one_line(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=f"^{KEY}: {tmp_path}/{name} ({says})") as caught:
        read_tensors(KEY, tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_pickle_that_wants_to_run_code_does_not(tmp_path: Path) -> None:
    witness = tmp_path / "ran"

    class Touch:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {witness}",)

    torch.save({"weight": torch.zeros(1), "and": Touch()}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match=r"asks for posix\.system"):
        read_tensors(KEY, tmp_path / "evil.pth")
    assert not witness.exists()


def test_tensors_come_from_either_format(tmp_path: Path) -> None:
    tensors = {"a.weight": torch.randn(2, 3), "a.bias": torch.randn(2)}
    save_file(tensors, tmp_path / "a.safetensors")
    torch.save(tensors, tmp_path / "a.pth")
    torch.save({"state_dict": tensors}, tmp_path / "b.pth")
    for name in ("a.safetensors", "a.pth", "b.pth"):
        found = read_tensors(KEY, tmp_path / name)
        assert found.keys() == tensors.keys() and all(torch.equal(found[n], tensors[n]) for n in tensors)
    torch.save([1, 2], tmp_path / "c.pth")
    with pytest.raises(UserError, match="holds list; expected tensors by name"):
        read_tensors(KEY, tmp_path / "c.pth")


@pytest.mark.parametrize("first", range(256))
def test_a_text_is_no_checkpoint_whatever_it_begins_with(tmp_path: Path, first: int) -> None:
    (tmp_path / "a.pth").write_bytes(bytes([first]) + b"ello world, this is a text.\n")
    with pytest.raises(UserError, match=rf"^{KEY}: {tmp_path}/a.pth is ") as caught:
        read_tensors(KEY, tmp_path / "a.pth")
    assert "\n" not in str(caught.value)


def test_what_holds_no_tensors_by_name_is_refused(tmp_path: Path) -> None:
    for number, content in enumerate(({}, {"state_dict": {}}, {1: torch.zeros(1)}, {"a": 1}, torch.zeros(1), 3)):
        torch.save(content, tmp_path / f"{number}.pth")
        with pytest.raises(UserError, match="(expected|more than) tensors by name$"):
            read_tensors(KEY, tmp_path / f"{number}.pth")
    save_file({}, tmp_path / "a.safetensors")
    with pytest.raises(UserError, match="a.safetensors holds nothing; expected tensors by name$"):
        read_tensors(KEY, tmp_path / "a.safetensors")


@pytest.mark.parametrize("place", [0, checkpoints.LARGE // 2, checkpoints.LARGE])
def test_a_file_exchanged_for_one_of_the_same_size_and_time_is_noticed(tmp_path: Path, place: int) -> None:
    """Weights are exchanged whole, so that their header or their last numbers differ; one bit amid them is not seen."""
    file, kept = tmp_path / "weights.bin", tmp_path / "digests.json"
    data = bytearray(checkpoints.LARGE + 1)
    file.write_bytes(data)
    os.utime(file, (1, 1))
    first = Models(tmp_path, kept).digest(file)
    assert Models(tmp_path, kept).digest(file) == first == hashlib.sha256(data).hexdigest()
    data[place] = 1
    file.write_bytes(data)
    os.utime(file, (1, 1))
    amid = place == checkpoints.LARGE // 2
    assert (Models(tmp_path, kept).digest(file) == first) == amid
    assert amid or Models(tmp_path, kept).digest(file) == hashlib.sha256(data).hexdigest()


def test_a_cached_digest_of_an_earlier_form_is_not_believed(tmp_path: Path) -> None:
    file, kept = tmp_path / "weights.bin", tmp_path / "digests.json"
    file.write_bytes(bytes(checkpoints.LARGE))
    stamp = f"{checkpoints.LARGE}:{file.stat().st_mtime_ns}"
    for entry in ([stamp, "0" * 64], [stamp, "x", "0" * 64], "0" * 64, None, [], {"a": 1}):
        kept.write_text(json.dumps({str(file.resolve()): entry}))
        assert Models(tmp_path, kept).digest(file) == hashlib.sha256(bytes(checkpoints.LARGE)).hexdigest()
