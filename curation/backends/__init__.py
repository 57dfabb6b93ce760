"""Models and programs that signals and captions are made with, each behind one small class."""


def device() -> str:
    """Where a worker's models run, as torch names it: `cuda` where the worker sees a GPU, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
