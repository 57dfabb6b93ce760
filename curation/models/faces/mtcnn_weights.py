"""Reads the weights of MTCNN from the files of the package `mtcnn`, without running code from them."""

import hashlib
import importlib.util
import io
import pickle
from pathlib import Path
from typing import Any

import lz4.frame
import numpy as np

from curation.errors import UserError
from curation.workspace.digests import file_digest

WEIGHTS = {
    "pnet.lz4": "ea6b0c3e685ebee3165326ad6484acc95f2ef78f1c94fbf40a55704fa989f7b5",
    "rnet.lz4": "cb00e6460f3c98b0bfafaba3c0a0ded4bdf6e62cee7174d969e8670d7e757fee",
    "onet.lz4": "94f6ea2f4cf985275ee958cdd762d17b6009348a4fb9d8c6be39ba73ffd22ca3",
}
"""sha256 of the weight files of mtcnn 1.0.0."""


_INSTALL = "install the package mtcnn==1.0.0 afresh"


def weight_files() -> dict[str, Path]:
    """Returns the weight files by name. Raises UserError if one is missing."""
    return {name: installed_path(name) for name in WEIGHTS}


def check_weights() -> None:
    """Checks the sha256 of the weight files. Raises UserError if one is missing or differs; nothing is unpickled."""
    for path in weight_files().values():
        _check(path, file_digest(path))


def read_weights(name: str) -> list[np.ndarray]:
    """Returns the arrays of one weight file, in the order of the layers. Raises UserError if its sha256 is wrong."""
    path = installed_path(name)
    data = path.read_bytes()
    _check(path, hashlib.sha256(data).hexdigest())
    return unpickle(lz4.frame.decompress(data), path)


def unpickle(data: bytes, path: Path) -> list[np.ndarray]:
    """Returns the arrays in a joblib pickle, in which each array's bytes directly follow its description.

    Raises:
        UserError: the pickle needs any global other than an array's three, which is then not looked up, or holds
            objects.
    """
    stream = io.BytesIO(data)

    class Array:
        """Replaces joblib's NumpyArrayWrapper while unpickling."""

        def __setstate__(self, state: dict[str, Any]) -> None:
            dtype, shape = np.dtype(state["dtype"]), state["shape"]
            if dtype.hasobject:
                raise UserError(f"{path}: holds pickled objects; expected arrays of numbers")
            stream.read(stream.read(1)[0])  # padding to an aligned address, behind one byte with its length
            size = int(np.prod(shape)) * dtype.itemsize
            self.values = np.frombuffer(stream.read(size), dtype).reshape(shape)

    wrapper = "joblib.numpy_pickle.NumpyArrayWrapper"
    admitted = {wrapper: Array, "numpy.ndarray": np.ndarray, "numpy.dtype": np.dtype}

    class Reader(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if f"{module}.{name}" not in admitted:
                raise UserError(f"{path}: asks for {module}.{name}; expected only {', '.join(admitted)}")
            return admitted[f"{module}.{name}"]

    return [array.values for array in Reader(stream).load()]


def installed_path(name: str) -> Path:
    """Returns the path of a weight file in the package `mtcnn`. Raises UserError if it is not installed."""
    package = importlib.util.find_spec("mtcnn")  # looks it up without importing it
    if package is None or not package.submodule_search_locations:
        raise UserError(f'faces: the package "mtcnn" with {name} is not installed; {_INSTALL}')
    path = Path(package.submodule_search_locations[0]) / "assets" / "weights" / name
    if not path.is_file():
        raise UserError(f"faces: {path} is missing; {_INSTALL}")
    return path


def _check(path: Path, sha256: str) -> None:
    if sha256 != WEIGHTS[path.name]:
        raise UserError(f"{path}: sha256 is {sha256}, expected {WEIGHTS[path.name]}; {_INSTALL}")
