"""Lists the versions of the installed packages that scores may depend on."""

import importlib.metadata
import platform
from functools import cache

PACKAGES = (
    "numpy",
    "pyarrow",
    "duckdb",
    "opencv-python-headless",
    "pillow",
    "torch",
    "onnxruntime",
    "rapidocr",
    "transformers",
    "ray",
)
SCORING = (
    "machine", "numpy", "opencv-python-headless", "pillow", "torch", "torchvision", "onnxruntime", "rapidocr",
    "open_clip_torch", "transformers", "paddleocr", "paddlex", "paddlepaddle",
)  # fmt: skip
_OPENCV_WHEELS = (
    "opencv-contrib-python", "opencv-contrib-python-headless", "opencv-contrib-python-headless-rolling",
    "opencv-contrib-python-rolling", "opencv-python", "opencv-python-headless", "opencv-python-headless-rolling",
    "opencv-python-rolling",
)  # fmt: skip
"""The wheels that bring `cv2`, in alphabetical order. They are looked up by name, since reading the metadata of all
installed packages takes a tenth of a second."""


def versions() -> dict[str, str]:
    """Returns the versions of Python, of this product and of the packages that scores may depend on, by name."""
    by_name = {"python": platform.python_version(), "machine": platform.machine()}
    for package in ("curate", *PACKAGES, *(name for name in SCORING if name not in (*PACKAGES, "machine"))):
        try:
            by_name[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return by_name


@cache
def libraries() -> str:
    """Returns the libraries that may change a score's last digits, with versions; stored beside every score."""
    return ", ".join(f"{name} {version}" for name, version in versions().items() if name in SCORING)


def opencv_problem() -> str | None:
    """Returns why the installed OpenCV must not be used; None if it is right.

    Two wheels that both contain `cv2` overwrite each other's files, and some releases decode truncated JPEGs without an
    error.
    """
    wheels = [name for name in _OPENCV_WHEELS if any(importlib.metadata.distributions(name=name))]
    if len(wheels) > 1:
        others = " ".join(w for w in wheels if w != "opencv-python-headless")
        return (
            f"{' and '.join(wheels)} overwrite each other; run `pip uninstall -y {others} opencv-python-headless` "
            "and then `pip install opencv-python-headless`"
        )
    version = importlib.metadata.version(wheels[0]) if wheels else "0"
    if tuple(int(n) for n in version.split(".")[:2]) < (4, 14):
        return f"OpenCV {version} takes half-cut JPEGs for good; install opencv-python-headless 4.14 or later"
    return None
