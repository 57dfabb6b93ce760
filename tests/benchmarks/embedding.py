"""Signal embedding beside the bare model on ready tensors: CPU of one core, and images a second where there is a GPU.

The checkpoint has the architecture's full size and random weights: the numbers mean nothing, the work is the same.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from curation.images import Picture
from curation.models.checkpoints import Models
from curation.models.device import device
from curation.models.vision.clip import GPU_BATCH, Clip, ClipCheckpoint
from curation.recipe import Recipe
from curation.scoring.stage import plan
from curation.signals.base import Row, make_signal
from curation.signals.embedding import OpenClip
from curation.tasks import Watch
from tests import bench
from tests.benchmarks.corpora import jpegs
from tests.benchmarks.report import Figure, cpu_ms, show


def main() -> None:
    """Prints the figures."""
    gpu = device() == "cuda"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="ViT-L-14-quickgelu" if gpu else "ViT-B-32-quickgelu")
    parser.add_argument("--images", type=int, default=4096 if gpu else 16)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        save_checkpoint(arguments.model, folder / "weights.safetensors")
        made = recipe(folder, arguments.model)
        (on_gpu if gpu else on_cpu)(made, arguments.images)


def recipe(folder: Path, model: str) -> Recipe:
    """One signal, on a worker with all cores and a GPU."""
    cores = len(os.sched_getaffinity(0))
    signals = {"embedding": {"model": model, "checkpoint": "weights.safetensors"}}
    resources = {"stages": {"score": {"cpus": cores, "gpus": 1}}}
    return bench.recipe(folder, models=str(folder), signals=signals, engine="ray", ray={"resources": resources})


def save_checkpoint(model: str, path: Path) -> None:
    """Random weights of that architecture."""
    import open_clip

    tensors = open_clip.create_model(model, load_weights=False).state_dict()
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def on_cpu(made: Recipe, count: int) -> None:
    """CPU milliseconds an image: decode, preparation and forward, beside the forward alone."""
    model = made.signals["embedding"]["model"]
    signal = make_signal("embedding", made.signals["embedding"], Models(made.models))
    assert isinstance(signal, OpenClip)
    clip = signal.clip
    data = jpegs(count)
    ready = [clip.prepare(Picture(d).bgr(signal.side))[None] for d in data]

    def bare() -> None:
        with torch.inference_mode():
            for tensor in ready:
                clip.model.encode_image(tensor, normalize=True)

    bare()
    floor = cpu_ms(bare, count)
    whole = cpu_ms(lambda: [signal.score([Row(Picture(d), {}, {})]) for d in data], count)
    show([Figure(f"embedding, {model}, decode included, CPU", whole, "ms/image", floor)])


def on_gpu(made: Recipe, count: int) -> None:
    """Images a second of stage `score` on one worker, beside the model on tensors that lie on the GPU."""
    data = jpegs(min(count, 256))
    for shard in range(2):  # the first warms up
        members = {f"{n:06d}.jpg": data[n % len(data)] for n in range(count if shard else GPU_BATCH)}
        bench.write_tar(Path(made.workspace).parent / "raw" / f"{shard:05d}.tar", members)
    bench.index(made)
    seconds = []
    for task in plan(bench.opened(made)).tasks:
        began = time.perf_counter()
        task.run(Watch())
        seconds.append(time.perf_counter() - began)
    clip = Clip(ClipCheckpoint("", made.signals["embedding"]["model"], Path(str(made.models)) / "weights.safetensors"))
    pictures = torch.rand(GPU_BATCH, 3, clip.preprocess.transforms[0].size[0], clip.preprocess.transforms[0].size[0])
    batch = pictures.to("cuda", next(clip.model.parameters()).dtype)
    rates = [_bare_rate(clip, batch, count) for _ in range(3)]
    show([Figure(f"embedding, {count} images, decode included", count / seconds[-1], "images/s",
                 float(np.median(rates)), 0.8 * float(np.median(rates)), more_is_better=True)])  # fmt: skip


def _bare_rate(clip: Clip, batch: torch.Tensor, count: int) -> float:
    torch.cuda.synchronize()
    began = time.perf_counter()
    with torch.inference_mode():
        for _ in range(count // len(batch)):
            clip.model.encode_image(batch, normalize=True)
    torch.cuda.synchronize()
    return count // len(batch) * len(batch) / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
