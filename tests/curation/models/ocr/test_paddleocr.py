"""PaddleOCR: it reads as RapidOCR does with the same models, in an environment of its own that the tests make.

The models are those that come with RapidOCR, laid out as PaddleOCR exports its own.
"""

import csv
import functools
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from filelock import FileLock
from PIL import Image, ImageDraw, ImageFont

from curation.cli.first_recipe import sample_folder
from curation.errors import UserError
from curation.models.checkpoints import Models
from curation.models.ocr import rapidocr
from curation.models.ocr.paddleocr import Detection, Recognition
from curation.recipe.yaml_text import write_yaml
from curation.signals.base import make_signal
from tests import bench
from tests.curation.signals.test_ocr import similarity

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[4]
POSTERS = {
    "sale": ("Summer Sale", "50% off today"),
    "menu": ("Espresso 2.40", "Flat white 3.20", "Croissant 2.90"),
    "talk": ("A public lecture", "7 March, 19:30"),
}
UNREACHED = ("Failed to fetch", "network was disabled")
"""What uv says where there is no package index."""

TOY = '''
"""Two models for PaddlePaddle: text is what is dark, and each dark column of it an I."""
import sys
import paddle
from paddle.nn import Conv2D, Layer, functional as f

class Toy(Layer):
    def __init__(self):
        super().__init__()
        self.mean = Conv2D(3, 1, 1, weight_attr=paddle.nn.initializer.Constant(1 / 3), bias_attr=False)

class Detector(Toy):
    def forward(self, x):
        dark = f.avg_pool2d(f.relu(-self.mean(x)), kernel_size=31, stride=1, padding=15)
        return f.sigmoid(40 * (dark - 0.2))

class Recogniser(Toy):
    def forward(self, x):
        dark = f.max_pool2d(f.avg_pool2d(-self.mean(x), (1, 4), stride=(1, 4)), (48, 1), stride=(48, 1)).squeeze([1, 2])
        return f.softmax(paddle.stack([paddle.zeros_like(dark), 20 * dark, -20 + 0 * dark], -1), -1)

for folder, layer, shape in ((sys.argv[1], Detector(), [None, 3, None, None]), (sys.argv[2], Recogniser(), [None, 3, 48, None])):
    paddle.jit.save(layer, folder + "/inference", [paddle.static.InputSpec(shape, "float32", "x")])
'''

READ = '''
"""Reads pictures with a backend, while nothing can be reached."""
import json, socket, sys
import psutil
def refused(*given, **named):
    raise AssertionError(f"asked for the network: {given}")
socket.socket.connect = socket.getaddrinfo = refused

from pathlib import Path
from curation.signals.base import make_signal
from curation.models.checkpoints import Models
from curation.errors import UserError
from curation.images import Picture
from curation.signals.base import Row

def threads():
    return {thread.id: thread.user_time for thread in psutil.Process().threads()}

models, files = sys.argv[1], sys.argv[3:]
rows = [Row(Picture(Path(file).read_bytes()), {"caption": None}, {}) for file in files]
found = []
for params in json.loads(sys.argv[2]):
    signal = make_signal("ocr", {"backend": "paddleocr"} | params, Models(models))
    signal.check()
    try:
        signal.load()
    except UserError as error:
        found.append(str(error))
        continue
    scores, before = signal.score(rows), threads()
    assert [signal.score_one(row) for row in reversed(rows)] == scores[::-1]
    spent = [seconds - before.get(thread, 0) for thread, seconds in threads().items()]
    assert max(spent) > 0.9 * sum(spent) > 0, spent
    found.append(scores)
print(json.dumps(found))
'''


def exported(folder: Path, name: str, steps: list[dict[str, Any]], after: dict[str, Any]) -> Path:
    """The folder of a model, without weights, as PaddleOCR's `export_model.py` describes it."""
    folder.mkdir(parents=True)
    decode = {"DecodeImage": {"channel_first": False, "img_mode": "BGR"}}
    told = {
        "Global": {"model_name": name},
        "PreProcess": {"transform_ops": [decode, *steps]},
        "PostProcess": after,
    }
    (folder / "inference.yml").write_text(write_yaml(told), encoding="utf-8")
    return folder


def detector(folder: Path, **after: Any) -> Path:
    normalise = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "scale": "1./255.", "order": "hwc"}
    steps = [{"DetResizeForTest": {"resize_long": 960}}, {"NormalizeImage": normalise}, {"ToCHWImage": None}]
    given = {"name": "DBPostProcess", "thresh": 0.3, "box_thresh": 0.5, "max_candidates": 1000, "unclip_ratio": 1.6}
    return exported(folder, "PP-OCRv6_small_det", steps, given | after)


def recogniser(folder: Path, characters: list[str]) -> Path:
    steps = [{"RecResizeImg": {"image_shape": [3, 48, 320]}}]
    return exported(folder, "PP-OCRv6_small_rec", steps, {"name": "CTCLabelDecode", "character_dict": characters})


@functools.cache
def characters() -> list[str]:
    _, path = rapidocr.model_files()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.get_modelmeta().custom_metadata_map["character"].splitlines()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder of models: RapidOCR's as PaddleOCR wants them."""
    folder = tmp_path / "models"
    places = detector(folder / "det"), recogniser(folder / "rec", characters())
    for place, file in zip(places, rapidocr.model_files(), strict=True):
        (place / "inference.onnx").symlink_to(file)
    return folder


@pytest.fixture(scope="session")
def environment() -> Path:
    """The environment in which curate has PaddleOCR; made now if it is not there, or older than its pins."""
    here = Path(sys.executable).parent
    with FileLock(ROOT / ".venv-paddle.lock"):
        made = subprocess.run(
            ["make", "--silent", f"BIN={here}", ".venv-paddle/.ready"],
            cwd=ROOT,
            env={n: v for n, v in os.environ.items() if not n.startswith("MAKE")},
            capture_output=True,
            text=True,
            check=False,
        )
    if made.returncode and any(sign in made.stderr for sign in UNREACHED):
        pytest.skip("needs a package index, to make an environment with PaddleOCR")
    assert made.returncode == 0, made.stderr
    return ROOT / ".venv-paddle"


def run(environment: Path, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Runs a command of the environment, which is offered no way to the network, a home of its own and one thread."""
    given = {
        "PATH": f"{environment / 'bin'}:/usr/bin:/bin",
        "HOME": str(folder),
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "PYTHONWARNINGS": "ignore",
    }
    done = subprocess.run(
        [str(environment / "bin" / command[0]), *command[1:]],
        cwd=folder,
        env=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def drawn(*lines: str) -> Image.Image:
    image = Image.new("RGB", (700, 100 + 120 * len(lines)), "white")
    for n, line in enumerate(lines):
        font = ImageFont.load_default(60 - 10 * n)
        ImageDraw.Draw(image).text((60, 60 + 120 * n), line, fill=(20, 30, 90), font=font)
    return image


def bars(number: int) -> Image.Image:
    """Dark upright bars, near enough to each other for one box."""
    image = Image.new("RGB", (512, 256), "white")
    for n in range(number):
        ImageDraw.Draw(image).rectangle((120 + 40 * n, 100, 137 + 40 * n, 150), fill="black")
    return image


@pytest.fixture(scope="session")
def posters(sample_photos: dict[str, bytes]) -> dict[str, bytes]:
    """Posters: those drawn here and the sample's."""
    with open(sample_folder() / "labels.csv", newline="", encoding="utf-8") as file:
        labelled = {row["key"].rpartition("/")[2] for row in csv.DictReader(file) if row["field"] == "text"}
    found = {name: bench.encoded(drawn(*lines)) for name, lines in POSTERS.items()}
    return found | {name: sample_photos[name] for name in sorted(labelled)}


@pytest.mark.slow
def test_reads_as_rapidocr_does(tmp_path: Path, environment: Path, models: Path, posters: dict[str, bytes]) -> None:
    files = {f"{name}.jpg": data for name, data in posters.items()}
    torn = posters["sale"][: len(posters["sale"]) // 2]
    bench.write_tar(tmp_path / "raw" / "00000.tar", files | {"torn.jpg": torn})
    paddle = {"backend": "paddleocr", "detection": "det", "recognition": "rec"}
    texts: dict[str, dict[str, str]] = {}
    for name, params in {"rapidocr": {}, "paddleocr": paddle}.items():
        made = bench.recipe(
            tmp_path, workspace=f"./{name}", models=str(models), signals={"ocr": params}, workers=1, max_failed_share=1
        )
        bench.index(made)
        if name == "rapidocr":
            bench.score(made)
        else:
            run(environment, tmp_path, "curate", "score", "recipe.yaml")
        rows = bench.rows(tmp_path / name / "signals" / "ocr" / "c" / "00000.parquet")
        states = {row["key"].rpartition("/")[2]: row["ocr_state"] for row in rows}
        assert states.pop("torn") == "failed"
        assert set(states.values()) == {"scored"}
        texts[name] = {row["key"].rpartition("/")[2]: row["text"] for row in rows if row["ocr_state"] == "scored"}
    for name, lines in POSTERS.items():
        assert texts["paddleocr"][name] == "\n".join(lines)
    alike = [similarity(texts["rapidocr"][name], text) for name, text in texts["paddleocr"].items()]
    assert sum(alike) / len(alike) >= 0.9


@pytest.mark.slow
def test_either_engine_on_one_thread_and_without_a_network(tmp_path: Path, environment: Path, models: Path) -> None:
    toys = detector(models / "toy-det", unclip_ratio=1.2), recogniser(models / "toy-rec", ["I"])
    (tmp_path / "toy.py").write_text(TOY)
    run(environment, tmp_path, "python", "toy.py", *map(str, toys))
    pictures = {
        "bars.png": bars(3),
        "sale.png": drawn("SALE", "50%"),
        "none.png": Image.new("RGB", (500, 300), "yellow"),
    }
    for name, image in pictures.items():
        image.save(tmp_path / name)
    params = [
        {"detection": "det", "recognition": "rec"},
        {"detection": "toy-det", "recognition": "toy-rec", "engine": "paddle"},
        {"detection": "own-det", "recognition": "rec"},
    ]
    own = detector(models / "own-det") / "inference.yml"
    own.write_text(own.read_text().replace("PP-OCRv6_small_det", "my-own"))
    (models / "own-det" / "inference.onnx").symlink_to(models / "det" / "inference.onnx")
    (tmp_path / "read.py").write_text(READ)
    done = run(environment, tmp_path, "python", "read.py", str(models), json.dumps(params), *pictures)
    onnx, paddle, refused = json.loads(done.stdout)
    assert refused.startswith("signals.ocr: PaddleOCR does not load its models: ") and "my-own" in refused
    assert [scores["text"] for scores in onnx[1:]] == ["SALE\n50%", ""]
    assert [paddle[0]["text"], paddle[2]["text"]] == ["III", ""]
    box = paddle[0]["text_boxes"][0]
    assert abs((box[0] + box[2]) / 2 - (120 + 217) / 2 / 512) < 0.02


def test_here_it_is_not_installed_and_says_how_it_would_be(models: Path) -> None:
    assert importlib.util.find_spec("paddleocr") is None  # its pins would hold back what everything else uses
    signal = make_signal("ocr", {"backend": "paddleocr", "detection": "det", "recognition": "rec"}, Models(models))
    names = {f"{use}/inference.{end}" for use in ("detection", "recognition") for end in ("yml", "onnx")}
    assert set(signal.digests()) == names  # for whoever has scored elsewhere and selects here
    with pytest.raises(
        UserError, match=r"signals\.ocr\.backend: paddleocr is not installed here.*\.\[paddle\]"
    ) as raised:
        signal.check()
    assert "\n" not in str(raised.value)


def test_a_missing_model_is_told_before_any_work(models: Path) -> None:
    def refused(told: str, **params: str) -> None:
        signal = make_signal(
            "ocr", {"backend": "paddleocr", "detection": "det", "recognition": "rec"} | params, Models(models)
        )
        with pytest.raises(UserError, match=told) as raised:
            signal.files()
        assert "\n" not in str(raised.value)

    refused(r"signals\.ocr\.detection: no dot in ", detection="dot")
    refused(r"signals\.ocr\.recognition: .*inference\.yml is a file", recognition="det/inference.yml")
    refused(
        r"signals\.ocr\.detection: .*det has no inference\.json or inference\.pdmodel, which engine paddle",
        engine="paddle",
    )
    (models / "rec" / "inference.yml").unlink()
    refused(r"signals\.ocr\.recognition: .*rec has no inference\.yml, .*; found inference\.onnx")


def test_a_model_that_does_not_fit_its_place_is_refused(models: Path, tmp_path: Path) -> None:
    def refused(told: str, kind: type[Detection] | type[Recognition], folder: Path) -> None:
        with pytest.raises(UserError, match=told) as raised:
            kind("signals.ocr.x", folder, "onnxruntime").check()
        assert "\n" not in str(raised.value) and str(raised.value).startswith("signals.ocr.x: ")

    Detection("signals.ocr.x", models / "det", "onnxruntime").check()
    Recognition("signals.ocr.x", models / "rec", "onnxruntime").check()
    refused("expected PostProcess.name DBPostProcess, found 'CTCLabelDecode'", Detection, models / "rec")
    refused("expected PostProcess.name CTCLabelDecode, found 'DBPostProcess'", Recognition, models / "det")

    short = recogniser(tmp_path / "short", characters()[:-3])
    (short / "inference.onnx").symlink_to(models / "rec" / "inference.onnx")
    classes = len(characters()) + 2
    refused(rf"expected {classes - 3} outputs by .*inference\.yml, found \[1, \d+, {classes}\]", Recognition, short)

    crossed = detector(tmp_path / "crossed")
    (crossed / "inference.onnx").symlink_to(models / "rec" / "inference.onnx")
    refused("inference.onnx does not run as a model: .*", Detection, crossed)
    (crossed / "inference.onnx").unlink()
    (crossed / "inference.onnx").write_bytes((models / "det" / "inference.onnx").read_bytes()[:1000])
    refused("inference.onnx does not run as a model: .*", Detection, crossed)


@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        ("is no YAML", "Global: [\n"),
        ("is no YAML", "Global: !!python/object/apply:os.system ['true']\n"),
        ("expected a section Global, found NoneType", "[1, 2]\n"),
        ("expected Global.model_name, found None", "Global: {}\n"),
        ("expected a section PostProcess, found NoneType", "Global: {model_name: m}\n"),
        ("expected PreProcess.transform_ops", "{Global: {model_name: m}, PostProcess: {name: DBPostProcess}, PreProcess: {}}"),
        (
            r"NormalizeImage\.scale: expected a number, found",
            "{Global: {model_name: m}, PostProcess: {name: DBPostProcess}, PreProcess: {transform_ops: "
            "[{NormalizeImage: {scale: \"__import__('os').getpid()\"}}]}}",
        ),
    ],
)  # fmt: skip
def test_a_description_that_is_none_or_wants_to_run_code_is_refused(models: Path, told: str, wrong: str) -> None:
    (models / "det" / "inference.yml").write_text(wrong)
    with pytest.raises(UserError, match=told) as raised:
        Detection("signals.ocr.detection", models / "det", "onnxruntime").check()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("wrong", [{"engine": "transformers"}, {"detection": None}, {"gate_side": 352}])
def test_wrong_parameters_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UserError, match=rf"signals\.ocr\.{next(iter(wrong))}"):
        make_signal("ocr", {"backend": "paddleocr", "detection": "det", "recognition": "rec"} | wrong)
