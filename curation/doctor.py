"""What this machine and workspace have, and what is missing: `curate doctor`."""

import importlib.metadata
import itertools
import json
import os
import platform
import shutil
from functools import cache
from pathlib import Path

from curation.checkpoints import Models
from curation.errors import UserError
from curation.inventory import Finding, backends, model, plugins_of
from curation.recipe import Recipe

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
FREE_GB = 10
"""Free disk below which a run is warned of."""


def versions() -> dict[str, str]:
    """Versions of Python, of this product and of the packages that scores may depend on."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in ("curate", *PACKAGES, *(name for name in SCORING if name not in (*PACKAGES, "machine"))):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@cache
def libraries() -> str:
    """The libraries that a score may depend on in its last digits, with versions; noted beside every score."""
    return ", ".join(f"{name} {version}" for name, version in versions().items() if name in SCORING)


def examine(recipe: Recipe | None = None) -> list[Finding]:
    """Looks at the installation, the machine and, if a recipe is given, at what it asks for."""
    found = [_python(), _opencv(), _gpu(), _memory(), _fonts()]
    missing = [p for p in PACKAGES if p not in versions()]
    found.append(
        Finding(
            "packages",
            "problem" if missing else "ok",
            f"missing: {', '.join(missing)}"
            if missing
            else ", ".join(f"{n} {v}" for n, v in versions().items() if n in PACKAGES),
        )
    )
    found.append(_disk(Path(recipe.workspace if recipe else ".")))
    if recipe is None:
        return found + backends(Models(os.environ.get("CURATE_MODELS")), {})
    chosen, problems = plugins_of(recipe)
    found += [_corpora(recipe), *problems, *itertools.starmap(model, chosen.items()), *_mixes(recipe)]
    return found + backends(Models.of(recipe), chosen)


def opencv_problem() -> str | None:
    """Why the OpenCV that is installed must not be used, if so; None if it is right.

    Two wheels that both bring `cv2` overwrite each other's files; and some releases decode half-cut JPEGs as good.
    """
    wheels = sorted({d.name for d in importlib.metadata.distributions() if (d.name or "").startswith("opencv-")})
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


def _python() -> Finding:
    return Finding("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _opencv() -> Finding:
    problem = opencv_problem()
    return Finding("opencv", "problem" if problem else "ok", problem or "one OpenCV, headless, recent enough")


def _gpu() -> Finding:
    import torch

    if not torch.cuda.is_available():
        return Finding("gpu", "note", "none; models run on the CPU")
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return Finding("gpu", "ok", ", ".join(names))


def _memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    return Finding("machine", "ok", f"{cores} cores, {total:.0f} GB of memory")


def _fonts() -> Finding:
    """Chinese fonts: the text-image synthesizer and plots want them; nothing else does."""
    roots = [Path("/usr/share/fonts"), Path.home() / ".fonts", Path.home() / ".local/share/fonts"]
    names = sorted(
        {
            p.stem
            for r in roots
            if r.is_dir()
            for p in r.rglob("*")
            if p.suffix.lower() in (".ttc", ".otf", ".ttf")
            and any(mark in p.name for mark in ("CJK", "SC", "Hans", "wqy", "Droid"))
        }
    )
    if names:
        return Finding("fonts", "ok", f"Chinese: {', '.join(names[:4])}{' …' if len(names) > 4 else ''}")
    return Finding("fonts", "note", "no Chinese font found (Debian: fonts-noto-cjk)")


def _disk(folder: Path) -> Finding:
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 2**30
    low = free < FREE_GB
    return Finding("disk", "problem" if low else "ok", f"{free:.0f} GB free at {folder}{'; too little' if low else ''}")


def _corpora(recipe: Recipe) -> Finding:
    from curation.corpus import list_sources

    said = []
    for corpus in recipe.corpora:
        try:
            said.append(f"{corpus.name}: {len(list_sources(corpus))} shards")
        except UserError as error:
            return Finding("corpora", "problem", str(error))
    return Finding("corpora", "ok", ", ".join(said))


def _mixes(recipe: Recipe) -> list[Finding]:
    """Signals whose scores come from more than one set of library versions: they may differ in the last digits."""
    from curation.workspace import Workspace, footer

    workspace = Workspace(recipe.workspace)
    found = []
    for name in recipe.signals:
        used: set[str] = set()
        for corpus in recipe.corpora:
            for shard in workspace.shards(corpus.name):
                used.update(
                    json.loads((footer(workspace.signal(name, corpus.name, shard)) or {}).get("libraries", "[]"))
                )
        if len(used) > 1:
            found.append(
                Finding(f"signals.{name}", "note", f"scored with different libraries: {' | '.join(sorted(used))}")
            )
    return found
