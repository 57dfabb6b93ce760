"""Chooses the device that models run on, and recognizes a GPU that is lost to its process."""

import sys


def gpu_is_lost(error: Exception) -> bool:
    """Returns whether this process can no longer use the GPU after an error, such as an illegal memory access."""
    if (torch := sys.modules.get("torch")) is None:
        return False
    return isinstance(error, torch.AcceleratorError) and not isinstance(error, torch.OutOfMemoryError)


def device() -> str:
    """Returns the device on which a worker's models run: `cuda` if the worker sees a GPU, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
