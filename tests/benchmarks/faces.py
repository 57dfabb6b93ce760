"""CPU time and accuracy of the faces signal, beside what no detector of its kind can do without.

python -m tests.benchmarks.faces [--images 48] [--corpus ../shared/corpus]

Timed: pictures of the sample with and without faces, scaled to 2 megapixels, with grain until their
JPEG of quality 90 has about 450 kB; one thread, median of the images' CPU milliseconds.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from curation.backends import mtcnn
from curation.images import decode, fit
from curation.signals.faces import Faces
from curation.start import sample_folder
from tests.curation.signals.test_faces import counted, score

TARGET_MS, TARGET_EXACT = 45.0, 0.98
PIXELS, BYTES, QUALITY = 1632 * 1224, 450_000, 90
SIDE = 640


def photo(data: bytes, seed: int) -> bytes:
    """A JPEG of PIXELS and about BYTES from a picture of any size, shifted a little for each seed."""
    pixels = decode(data)
    height, width = pixels.shape[:2]
    scale = (PIXELS / (width * height)) ** 0.5
    big = cv2.resize(pixels, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_CUBIC)
    big = np.roll(big, 7 * seed, axis=1).astype(np.int16)
    grain = np.random.default_rng(seed).normal(0, 1, (*big.shape[:2], 1)).astype(np.float32)
    low, high = 0.0, 24.0
    for _ in range(6):  # the least grain that is enough
        middle = (low + high) / 2
        noisy = np.clip(big + grain * middle, 0, 255).astype(np.uint8)
        coded = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
        low, high = (middle, high) if len(coded) < BYTES else (low, middle)
    return coded


def photos(count: int) -> list[bytes]:
    """As many photos as asked for, all pictures of the sample that have been counted in turn."""
    pictures = [data for _, data, _ in counted(sample_folder())]
    return [photo(pictures[i % len(pictures)], i // len(pictures)) for i in range(count)]


def cpu_ms(call: Callable[[Any], object], inputs: list[Any]) -> float:
    """Median CPU milliseconds of a call over the inputs, the best of two rounds for each."""
    best = [float("inf")] * len(inputs)
    for _ in range(2):
        for i, given in enumerate(inputs):
            start = time.process_time()
            call(given)
            best[i] = min(best[i], 1000 * (time.process_time() - start))
    return statistics.median(best)


class Parts:
    """Sums the CPU time that passes inside some functions, wrapped where they are looked up."""

    def __init__(self, detector: mtcnn.Mtcnn) -> None:
        self.seconds: dict[str, float] = {}
        nets = {id(detector.pnet): "P-Net", id(detector.rnet): "R-Net", id(detector.onet): "O-Net"}
        detector._run = self.timed(detector._run, lambda net, pixels: nets[id(net)])  # type: ignore[method-assign]
        for name, label in (("_crop", "crops"), ("_nms", "NMS"), ("_nms_min", "NMS")):
            setattr(mtcnn, name, self.timed(getattr(mtcnn, name), lambda *_, label=label: label))

    def timed(self, call: Callable[..., Any], label: Callable[..., str]) -> Callable[..., Any]:
        """The function with its time noted under a label made from its arguments."""

        def wrapped(*arguments: Any) -> Any:
            start = time.process_time()
            result = call(*arguments)
            key = label(*arguments)
            self.seconds[key] = self.seconds.get(key, 0) + time.process_time() - start
            return result

        return wrapped


def pnet_levels(detector: mtcnn.Mtcnn, image: np.ndarray) -> list[torch.Tensor]:
    """What P-Net gets for one image: the floor of detection is this forward and nothing else."""
    levels: list[torch.Tensor] = []
    run, detector._run = (
        detector._run,
        lambda net, pixels: (  # type: ignore[method-assign]
            levels.append(torch.from_numpy(pixels).permute(0, 3, 1, 2).float()) if net is detector.pnet else None,
            run(net, pixels),
        )[1],
    )
    detector.detect([image])
    del detector._run
    return levels


def accuracy(corpus: Path) -> None:
    """Prints the share of pictures with the exact count, and the others."""
    found = [(name, faces, score(data)[0]["face_count"]) for name, data, faces in counted(corpus)]
    wrong = [f"{name}: {ours} for {faces}" for name, faces, ours in found if ours != faces]
    print(
        f"{corpus}: exact {len(found) - len(wrong)} of {len(found)},"
        f" {100 - 100 * len(wrong) / len(found):.1f} % (target {100 * TARGET_EXACT:.0f} %)"
    )
    print("".join(f"  {line}\n" for line in wrong), end="")


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--corpus", type=Path, default=Path("../shared/corpus"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = photos(options.images)
    images = [fit(decode(d, SIDE), SIDE) for d in data]
    detector = mtcnn.Mtcnn()
    detector.detect(images[:4])
    with torch.inference_mode():
        levels = [pnet_levels(detector, image) for image in images]
        floor = {
            "floor: decode": cpu_ms(lambda d: decode(d, SIDE), data),
            "floor: P-Net forward": cpu_ms(lambda ls: [detector.pnet(x) for x in ls], levels),
        }
    whole = cpu_ms(score, data)
    print(
        f"{len(data)} JPEGs of {PIXELS / 1e6:.1f} MP, {statistics.median(map(len, data)) / 1000:.0f} kB;"
        f" load {os.getloadavg()[0]:.1f}; CPU ms per image, one thread"
    )
    for name, value in floor.items():
        print(f"  {name:<24}{value:6.1f}")
    print(f"  {'decode and fit':<24}{cpu_ms(lambda d: fit(decode(d, SIDE), SIDE), data):6.1f}")
    print(f"  {'detect':<24}{cpu_ms(lambda image: detector.detect([image]), images):6.1f}")
    print(
        f"  {'the signal in all':<24}{whole:6.1f}  target {TARGET_MS:.0f}, declared {Faces.cost:.0f},"
        f" {whole / sum(floor.values()):.1f} x floor"
    )
    parts = Parts(detector)
    for image in images:
        detector.detect([image])
    shares = (f"{name} {1000 * seconds / len(images):.1f}" for name, seconds in parts.seconds.items())
    print("  of detect, mean: " + ", ".join(shares))
    for corpus in (options.corpus, sample_folder()):
        if corpus.is_dir():
            accuracy(corpus)


if __name__ == "__main__":
    main()
