"""Image classifiers from a local folder: the library's own numbers, and what is refused before work starts."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from curation.errors import UserError
from curation.models.vision.hf_classifier import ELONGATED, Classifier
from tests import bench, classifiers

KEY = "signals.safety.checkpoint"


def pictures() -> list[np.ndarray]:
    """Wide, high, small, square, gray and of one pixel, as B, G, R."""
    sizes = [(90, 60), (40, 100), (20, 12), (64, 64), (3, 40), (1, 1)]
    return [np.asarray(bench.picture(n, size))[:, :, ::-1].copy() for n, size in enumerate(sizes)]


def loaded(folder: Path) -> Classifier:
    classifier = Classifier(KEY, folder)
    classifier.check()
    classifier.load()
    return classifier


@pytest.mark.parametrize("make", [classifiers.vit, classifiers.siglip, classifiers.convnext, classifiers.timm_vit])
def test_probabilities_equal_the_librarys_own_forward_bit_for_bit(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    folder = make(tmp_path / "tiny")
    processor = AutoImageProcessor.from_pretrained(folder)
    model = AutoModelForImageClassification.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        rgb = [Image.fromarray(p[:, :, ::-1]) for p in pictures()[:4]]
        expected = [model(**processor(i, return_tensors="pt")).logits.softmax(1) for i in rgb]
    found = loaded(folder).probabilities(pictures()[:4])
    assert found.dtype == np.float32 and found.shape == (4, 2)
    assert (found == torch.cat(expected).numpy()).all()
    assert len({row.tobytes() for row in found}) == 4  # it does look at the picture


@pytest.mark.parametrize("make", [classifiers.vit, classifiers.convnext])
def test_a_probability_does_not_depend_on_its_batch(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    classifier = loaded(make(tmp_path / "tiny"))
    together = classifier.probabilities(pictures())
    assert all((classifier.probabilities([p])[0] == row).all() for p, row in zip(pictures(), together, strict=True))
    assert classifier.probabilities([]).shape == (0, 2)


def test_labels_that_do_not_exclude_each_other_have_probabilities_of_their_own(tmp_path: Path) -> None:
    folder = classifiers.vit(tmp_path / "tiny", ["nude", "gore", "text"], problem_type="multi_label_classification")
    classifier = loaded(folder)
    assert not classifier.exclusive
    pixels = classifier._prepare(pictures()[:1])
    expected = torch.sigmoid(classifier._model(pixel_values=pixels).logits).numpy()
    assert (classifier.probabilities(pictures()[:1]) == expected).all()


@pytest.mark.parametrize(("make", "side"), [(classifiers.vit, 96), (classifiers.convnext, 144), (classifiers.timm_vit, 480)])  # fmt: skip
def test_side_is_thrice_what_the_processor_makes_of_a_picture(
    tmp_path: Path, make: Callable[[Path], Path], side: int
) -> None:
    assert Classifier(KEY, make(tmp_path / "tiny")).side == side


@pytest.mark.parametrize("shape", [(3, 4000), (4000, 3), (1, 60_000)])
def test_a_thread_of_pixels_is_seen_in_its_middle_and_fills_no_memory(tmp_path: Path, shape: tuple[int, int]) -> None:
    classifier = loaded(classifiers.convnext(tmp_path / "tiny"))
    thread = np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8)
    short, long = min(shape), max(shape)
    part = slice((long - ELONGATED * short) // 2, (long + ELONGATED * short) // 2)
    middle = thread[:, part] if shape[1] > shape[0] else thread[part]
    assert max(middle.shape) == ELONGATED * short
    assert (classifier.probabilities([thread]) == classifier.probabilities([middle])).all()


def test_an_old_processor_and_weights_in_parts_are_read(tmp_path: Path) -> None:
    """As Falconsai/nsfw_image_detection has its processor, and large checkpoints their weights."""
    folder = classifiers.vit(tmp_path / "tiny")
    before = loaded(folder).probabilities(pictures())
    old = {"do_normalize": True, "do_resize": True, "feature_extractor_type": "ViTFeatureExtractor", "size": 32,
           "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 2}  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(old))
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    parts: dict[str, dict[str, torch.Tensor]] = {
        "model-00001-of-00002.safetensors": {},
        "model-00002-of-00002.safetensors": {},
    }
    for i, (name, tensor) in enumerate(tensors.items()):
        list(parts.values())[i % 2][name] = tensor
    for name, part in parts.items():
        save_file(part, folder / name)
    index = {"weight_map": {tensor: name for name, part in parts.items() for tensor in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    classifier = loaded(folder)
    assert (classifier.probabilities(pictures()) == before).all()
    assert list(classifier.files) == ["config.json", "preprocessor_config.json", "model.safetensors.index.json", *parts]
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(UserError, match=f"^{KEY}: {folder} has no model-00002-of-00002.safetensors; found config.json"):
        _ = Classifier(KEY, folder).files


def test_half_precision_weights_run_in_float32_on_a_cpu(tmp_path: Path) -> None:
    folder = classifiers.vit(tmp_path / "tiny")
    file = folder / "model.safetensors"
    save_file({name: tensor.half() for name, tensor in load_file(file).items()}, file)
    classifier = loaded(folder)
    assert {p.dtype for p in classifier._model.parameters()} == {torch.float32}
    assert np.isfinite(classifier.probabilities(pictures())).all()


class Touch:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch ran",)


def changed(folder: Path, change: str) -> Path:
    """A checkpoint folder with one thing wrong."""
    classifiers.vit(folder)
    weights, config, processor = (folder / n for n in ("model.safetensors", "config.json", "preprocessor_config.json"))
    tensors, described = load_file(weights), json.loads(config.read_text())
    match change:
        case "shape":
            save_file(tensors | {"classifier.weight": torch.zeros(3, 32)}, weights)
        case "more labels":
            config.write_text(json.dumps(described | {"id2label": {"0": "a", "1": "b", "2": "c"}}))
        case "no head":
            save_file({n: t for n, t in tensors.items() if not n.startswith("classifier")}, weights)
        case "cut":
            weights.write_bytes(weights.read_bytes()[:5000])
        case "pickle":
            torch.save(tensors | {"classifier.bias": Touch()}, folder / "pytorch_model.bin")
            weights.unlink()
        case "no weights":
            weights.unlink()
        case "no processor":
            processor.unlink()
        case "no config":
            config.unlink()
        case "torn config":
            config.write_text(config.read_text()[:50])
        case "list":
            config.write_text("[]")
        case "deep":
            config.write_text(json.dumps(described)[:-1] + ', "x": ' + "[" * 100_000 + "]" * 100_000 + "}")
        case "deep for transformers":
            config.write_text(json.dumps(described)[:-1] + ', "x": ' + "[" * 700 + "]" * 700 + "}")
        case "layers":
            config.write_text(json.dumps(described | {"num_hidden_layers": 1_000_000}))
        case "labels":
            config.write_text(
                json.dumps({n: v for n, v in described.items() if "label" not in n} | {"num_labels": 10**9})
            )
        case "size":
            processor.write_text(
                json.dumps(json.loads(processor.read_text()) | {"size": {"height": 10**6, "width": 10**6}})
            )
        case "unknown":
            config.write_text(json.dumps({"model_type": "vitt"}))
        case "remote code":
            config.write_text(
                json.dumps(
                    {
                        "model_type": "own",
                        "auto_map": {"AutoConfig": "own.Own", "AutoModelForImageClassification": "own.Own"},
                    }
                )
            )
            (folder / "own.py").write_text("import os\nos.system('touch ran')\n")
        case "no classifier":
            config.write_text(json.dumps({"model_type": "bert"}))
        case "regression":
            config.write_text(json.dumps(described | {"problem_type": "regression"}))
        case "other size":
            processor.write_text(json.dumps(json.loads(processor.read_text()) | {"size": {"height": 64, "width": 64}}))
        case "bad processor":
            processor.write_text(json.dumps({"image_processor_type": "ViTImageProcessor", "size": "large"}))
        case "path in index":
            weights.unlink()
            (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../b.safetensors"}}))
    return folder


@pytest.mark.parametrize(("change", "says"), [
    ("shape", r"/model.safetensors: classifier.weight: expected \[2, 32\] by config.json, found \[3, 32\]"),
    ("more labels", r"/model.safetensors: classifier.bias: expected \[3\] by config.json, found \[2\]"),
    ("no head", "/model.safetensors: expected the tensor classifier.bias and 1 more, found none"),
    ("cut", "/model.safetensors is no safetensors file: "),
    ("pickle", " has no model.safetensors but pytorch_model.bin, a pickle, which is not opened; convert it to safetensors"),
    ("no weights", " has no model.safetensors; found config.json, preprocessor_config.json"),
    ("no processor", " has no preprocessor_config.json; found config.json, model.safetensors"),
    ("no config", " has no config.json; found model.safetensors"),
    ("torn config", "/config.json is no JSON: "),
    ("list", "/config.json: expected a JSON object, found list"),
    ("deep", "/config.json is nested too deep"),
    ("deep for transformers", "/config.json"),
    ("layers", "/config.json: num_hidden_layers is 1,000,000; at most 1,000 is believed"),
    ("labels", "/config.json: num_labels is 1,000,000,000; at most 1,000,000 is believed"),
    ("size", "/preprocessor_config.json: width is 1,000,000; at most 20,000 is believed"),
    ("unknown", "/config.json: expected a model's configuration: .*`vitt`"),
    ("remote code", "/config.json: expected a model's configuration: .*custom code"),
    ("no classifier", "/config.json: expected an image classifier's configuration: Unrecognized configuration class .*Bert"),
    ("regression", r"/config.json: expected two labels or more, found 2 \(problem_type regression\)"),
    ("other size", r"/config.json: expected a model that takes what its image processor makes: Input image size \(64\*64\)"),
    ("bad processor", "/preprocessor_config.json: expected an image processor's configuration: "),
    ("path in index", "/model.safetensors.index.json: expected a weight_map of file names"),
])  # fmt: skip
def test_a_wrong_checkpoint_is_refused_before_work_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], change: str, says: str
) -> None:
    folder = changed(tmp_path / "tiny", change)
    monkeypatch.chdir(tmp_path)
    capfd.readouterr()
    with pytest.raises(UserError, match=rf"^{KEY}: {folder}{says}") as caught:
        Classifier(KEY, folder).check()
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    assert not (tmp_path / "ran").exists()
    assert capfd.readouterr() == ("", "")  # nor does transformers print what it makes of it


@pytest.mark.parametrize("make", [classifiers.vit, classifiers.siglip, classifiers.convnext, classifiers.timm_vit])
def test_nothing_is_asked_of_a_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Path]
) -> None:
    folder = make(tmp_path / "tiny")
    asked: list[object] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **_: asked.append(address))
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: asked.append(address))
    loaded(folder).probabilities(pictures())
    assert not asked


def test_an_architecture_on_a_hub_is_refused(tmp_path: Path) -> None:
    file = classifiers.timm_vit(tmp_path / "tiny") / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"architecture": "hf_hub:someone/something"}))
    with pytest.raises(
        UserError, match="config.json: expected timm's name of an architecture, found hf_hub:someone/something"
    ):
        Classifier(KEY, tmp_path / "tiny").check()


def test_a_file_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "tiny").write_text("")
    with pytest.raises(UserError, match="tiny is a file; expected the folder of a checkpoint"):
        _ = Classifier(KEY, tmp_path / "tiny").files


def test_the_check_reads_no_weights(tmp_path: Path) -> None:
    """Their bytes may be anything: names and shapes stand in the header."""
    folder = classifiers.vit(tmp_path / "tiny")
    file = folder / "model.safetensors"
    data = bytearray(file.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    data[start:] = b"\xff" * (len(data) - start)  # NaN
    file.write_bytes(data)
    classifier = loaded(folder)
    assert np.isnan(classifier.probabilities(pictures())).all()
