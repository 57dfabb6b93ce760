"""Models and programs that signals and captions are made with, each behind one small class."""

import sys


def gpu_is_lost(error: Exception) -> bool:
    """Whether an error leaves the GPU useless to this process, as an illegal access or broken memory does."""
    if (torch := sys.modules.get("torch")) is None:
        return False
    return isinstance(error, torch.AcceleratorError) and not isinstance(error, torch.OutOfMemoryError)


def device() -> str:
    """Where a worker's models run, as torch names it: `cuda` where the worker sees a GPU, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
