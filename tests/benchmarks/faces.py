"""CPU time and accuracy of the face detectors, beside what no detector of their kind can do without.

python -m tests.benchmarks.faces [--images 48] [--corpus ../shared/corpus]

Timed: pictures of the sample with and without faces, scaled to 2 megapixels, with grain until their JPEG has about
450 kB; one thread, median of the images' CPU milliseconds, floor and whole in turn. YuNet is measured where
CURATE_MODELS holds a yunet/*.onnx.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from curation.cli.first_recipe import sample_folder
from curation.images import decode, fit
from curation.models.faces import mtcnn
from tests.benchmarks.corpora import BYTES
from tests.benchmarks.corpora import jpeg as with_grain
from tests.benchmarks.report import HEAD, Figure, show
from tests.curation.signals.test_faces import PROFILES, counted, found, look_alikes, score, true_yunet, turned

REACH_MS, REACH_EXACT = 45.0, 0.98
PIXELS = 1632 * 1224
SIDE = 640
ANGLES = (15, 30, 45, 60, 90, 180)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--corpus", type=Path, default=Path("../shared/corpus"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    backends: dict[str, dict[str, Any]] = {"mtcnn": {}}
    if true_yunet():
        backends["yunet"] = {"backend": "yunet", "model": true_yunet()}
    data = photos(options.images)
    print(f"{len(data)} JPEGs of {PIXELS / 1e6:.1f} MP, {statistics.median(map(len, data)) / 1000:.0f} kB")
    print(HEAD)
    for name, params in backends.items():
        show(speed(name, params, data))
    parts(data)
    folders = [folder for folder in (options.corpus, sample_folder()) if folder.is_dir()]
    for name, params in backends.items():
        for folder in folders:
            exact(name, params, folder)
        tilted(name, params, folders)
        profiles(name, params)
        false_alarms(name, params, folders)


def photos(count: int) -> list[bytes]:
    """As many photos as asked for, all pictures of the sample that have been counted in turn, each shifted anew."""
    pictures = [data for _, data, _ in counted(sample_folder())]
    made = []
    for i in range(count):
        pixels = decode(pictures[i % len(pictures)])
        scale = (PIXELS / (pixels.shape[0] * pixels.shape[1])) ** 0.5
        big = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        rng = np.random.default_rng(i)
        made.append(with_grain(np.roll(big, 7 * (i // len(pictures)), axis=1), rng))
    assert statistics.median(map(len, made)) < 1.2 * BYTES
    return made


def speed(name: str, params: dict[str, Any], data: list[bytes]) -> list[Figure]:
    """The signal with its decode, beside the decode and the bare forward pass of the net that sees all pixels."""
    images = [fit(decode(d, SIDE), SIDE) for d in data]
    forward = pnet_alone(images) if name == "mtcnn" else yunet_alone(params["model"], images)
    turns: list[Callable[[int], object]] = [
        lambda i: score(data[i], **params),
        lambda i: decode(data[i], SIDE),
        forward,
    ]
    with torch.inference_mode():
        whole, decoding, net = in_turn(turns, len(data))
    what = "P-Net" if name == "mtcnn" else "the net at full size"
    return [
        Figure(f"{name}: decode and faces, CPU an image", whole, "ms", decoding + net, REACH_MS),
        Figure(f"{name}: decode alone", decoding, "ms"),
        Figure(f"{name}: forward pass of {what} alone", net, "ms"),
    ]


def in_turn(works: list[Callable[[int], object]], images: int) -> list[float]:
    """For each work the median over the images of its CPU milliseconds, the best of three rounds for each image."""
    best = np.full((len(works), images), np.inf)
    for _ in range(3):
        for i in range(images):
            for w, work in enumerate(works):
                began = time.process_time()
                work(i)
                best[w, i] = min(best[w, i], 1000 * (time.process_time() - began))
    return [float(m) for m in np.median(best, axis=1)]


def pnet_alone(images: list[np.ndarray]) -> Callable[[int], object]:
    """P-Net over the levels of each image's pyramid, and nothing else."""
    detector = mtcnn.Mtcnn()
    run = detector._run
    levels: list[list[torch.Tensor]] = []

    def noted(net: torch.nn.Module, pixels: np.ndarray) -> Any:
        if net is detector.pnet:
            levels[-1].append(torch.from_numpy(pixels).permute(0, 3, 1, 2).float())
        return run(net, pixels)

    detector._run = noted  # type: ignore[method-assign]
    for image in images:
        levels.append([])
        detector.detect([image])
    return lambda i: [detector.pnet(level) for level in levels[i]]


def yunet_alone(model: str, images: list[np.ndarray]) -> Callable[[int], object]:
    """YuNet's net on each image, without anything that makes boxes of its outputs."""
    net = cv2.dnn.readNetFromONNX(model)
    names = net.getUnconnectedOutLayersNames()
    blobs = []
    for image in images:
        bottom, right = (-n % 32 for n in image.shape[:2])
        blobs.append(cv2.dnn.blobFromImage(cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_CONSTANT)))

    def forward(i: int) -> object:
        net.setInput(blobs[i])
        return net.forward(names)

    return forward


def parts(data: list[bytes]) -> None:
    """Where MTCNN's time goes: the mean over the images, by functions that are wrapped where they are looked up."""
    detector = mtcnn.Mtcnn()
    nets = {id(detector.pnet): "P-Net", id(detector.rnet): "R-Net", id(detector.onet): "O-Net"}
    seconds: dict[str, float] = {}

    def timed(call: Callable[..., Any], label: Callable[..., str]) -> Callable[..., Any]:
        def wrapped(*arguments: Any) -> Any:
            began = time.process_time()
            result = call(*arguments)
            key = label(*arguments)
            seconds[key] = seconds.get(key, 0) + time.process_time() - began
            return result

        return wrapped

    kept = {name: getattr(mtcnn, name) for name in ("crop", "nms", "nms_min")}
    detector._run = timed(detector._run, lambda net, pixels: nets[id(net)])  # type: ignore[method-assign]
    for name, call in kept.items():
        setattr(mtcnn, name, timed(call, lambda *_, label=name: label))
    for d in data:
        detector.detect([fit(decode(d, SIDE), SIDE)])
    for name, call in kept.items():
        setattr(mtcnn, name, call)
    print("mtcnn: ms an image in " + ", ".join(f"{n} {1000 * s / len(data):.1f}" for n, s in seconds.items()))


def exact(name: str, params: dict[str, Any], folder: Path) -> None:
    """Pictures with exactly the number of faces that was counted by eye, and the others."""
    got = [(file, faces, score(data, **params)[0]["face_count"]) for file, data, faces in counted(folder)]
    wrong = [f"{file} {ours} for {faces}" for file, faces, ours in got if ours != faces]
    share = 1 - len(wrong) / len(got)
    verdict = "" if share >= REACH_EXACT else f", NOT {100 * REACH_EXACT:.0f} %"
    print(f"{name}: {folder.name}: exact {len(got) - len(wrong)} of {len(got)} ({100 * share:.1f} %{verdict})", wrong)


def tilted(name: str, params: dict[str, Any], folders: list[Path]) -> None:
    """Faces found on copies turned either way; those beyond the labelled number count as false."""
    people = [(fit(decode(d, SIDE), SIDE), n) for folder in folders for _, d, n in counted(folder) if 0 < n < 20]
    faces = sum(n for _, n in people)
    line = []
    for angle in (0, *ANGLES):
        ways = [angle] if angle % 180 == 0 else [angle, -angle]
        got = [(found(turned(pixels, way), **params), n) for way in ways for pixels, n in people]
        hits = sum(min(ours, n) for ours, n in got) / len(ways) / faces
        false = sum(max(0, ours - n) for ours, n in got)
        line.append(f"{angle}° {100 * hits:.1f} % (+{false})")
    print(f"{name}: of {faces} faces in {len(people)} pictures, found when turned by: {', '.join(line)}")


def profiles(name: str, params: dict[str, Any]) -> None:
    """Faces seen from the side, on the sample."""
    pictures = {file.split(".")[0]: data for file, data, _ in counted(sample_folder())}
    got = {key: score(pictures[key], **params)[0]["face_count"] for key in PROFILES}
    print(f"{name}: profiles, one each: {got}")


def false_alarms(name: str, params: dict[str, Any], folders: list[Path]) -> None:
    """Faces found where there is none, and in pictures of logos, products and text, which may hold drawn ones."""
    for folder in folders:
        empty = [(file, data) for file, data, faces in counted(folder) if faces == 0]
        for what, pictures in (("without faces", empty), ("of logos, products, text", list(look_alikes(folder)))):
            hit = [file for file, data in pictures if score(data, **params)[0]["face_count"]]
            print(f"{name}: {folder.name}: faces in {len(hit)} of {len(pictures)} pictures {what}", hit)


if __name__ == "__main__":
    main()
