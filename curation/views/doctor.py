"""`curate doctor`: checks what the machine, the installation and a recipe have, and what is missing."""

import itertools
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from curation.captions.base import captioners, translators
from curation.captions.crew import Crew
from curation.counts import counted
from curation.decoding.formats import PACKAGES as FORMAT_PACKAGES
from curation.decoding.formats import REMEDY, is_readable
from curation.errors import UserError
from curation.models.checkpoints import WEIGHTS, Models, Origin
from curation.models.environment import PACKAGES, opencv_problem, versions
from curation.models.plugin import Plugin
from curation.recipe import Recipe
from curation.scoring.opened import Opened
from curation.scoring.sidecars import libraries_of
from curation.signals.base import signal_backends, signal_names


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    what: str
    """Name of the thing that was checked."""
    status: str
    """One of `ok`, `note`, `absent` (a model that no recipe names) and `problem`."""
    says: str
    """The result in words."""


def plugins_of(opened: Opened) -> tuple[dict[str, Plugin], list[Finding]]:
    """Makes the plug-ins that a recipe names, without loading their models.

    Returns:
        the signals, captioner and translators by their keys in the recipe (`signals.NAME`, `captions.translator` …),
        and a finding for each error in the recipe because of which plug-ins could not be made.
    """
    plugins: dict[str, Plugin] = {}
    problems = []
    try:
        plugins |= {f"signals.{n}": s for n, s in opened.cascade.signals.items()}
        plugins |= {f"captions.{key}": backend for key, backend in Crew(opened).all.items()}
    except UserError as error:
        problems.append(Finding("recipe", "problem", str(error)))
    return plugins, problems


def model(key: str, plugin: Plugin) -> Finding:
    """Checks whether a plug-in has the model files that it needs.

    Args:
        key: the plug-in's key in the recipe, which names the finding.
        plugin: the plug-in.
    """
    try:
        plugin.check()
    except UserError as error:
        return Finding(key, "problem", str(error))
    return Finding(key, "ok", plugin.told or "needs no model")


def backends(models: Models, chosen: dict[str, Plugin]) -> list[Finding]:
    """Lists every known backend with its models: files, checksums, licences, and the command to fetch them.

    Args:
        models: the folder of model files to look in.
        chosen: the plug-ins that a recipe names, by their keys in the recipe; empty without a recipe.
    """
    if models.folder is None:
        says = "none is named (`models:` in a recipe, or CURATE_MODELS); there is what packages bring"
    else:
        says = f"looked for in {models.folder}" if models.folder.is_dir() else f"{models.folder} is not there"
    findings = [Finding("models", "ok", says)]
    for title, key, cls in _known():
        plugin = chosen.get(key)
        own = _own_checkpoint(plugin) if isinstance(plugin, cls) else None
        results = [own] if own else [_origin(origin, cls, models) for origin in cls.origins]
        findings += [Finding(title, *says) for says in results or [("ok", "needs no model of its own")]]
    return findings


def _known() -> Iterator[tuple[str, str, type[Plugin]]]:
    """Yields title, key in the recipe, and class of every backend."""
    for name in signal_names():
        for backend, cls in signal_backends(name).items():
            yield f"{name} {backend}".strip(), f"signals.{name}", cls
    for name, captioner in captioners().items():
        yield f"captioner {name}", "captions.captioner", captioner
    for name, translator in translators().items():
        yield f"translator {name}", "captions.translator", translator


def _own_checkpoint(plugin: Plugin) -> tuple[str, str] | None:
    """Describes the model that the recipe itself names for a plug-in.

    Returns:
        status and text of a finding; None if the files are missing, or lie where one of the plug-in's `origins` puts
        them.
    """
    try:
        files = plugin.files()
    except UserError:
        return None
    folder = plugin.models.folder
    for origin in plugin.origins:
        if origin.place is None or (
            folder and any(path.is_relative_to(folder / origin.place) for path in files.values())
        ):
            return None
    places = ", ".join(sorted({str(path.parent) for path in files.values()}))
    return ("ok", f"named by the recipe; {places}: {plugin.told}") if files else None


def _origin(origin: Origin, backend: type[Plugin], models: Models) -> tuple[str, str]:
    """Checks whether a packaged lies where its fetch command puts it; returns status and text of a finding."""
    description = f"{origin.name}; licence: {origin.licence}"
    fetch = origin.fetch.replace("MODELS", str(models.folder) if models.folder else "$CURATE_MODELS")
    place = models.folder / origin.place if models.folder and origin.place else None
    if origin.place is None:
        try:
            packaged = backend(backend.Params()).told
        except UserError as error:
            return "problem", f"{description}; {error}"
        return "ok", f"{description}; {packaged}"
    fetch = f"fetch it, on a machine with a connection: {fetch}"
    if place is None or not place.exists():
        return "absent", f"{description}; {fetch}"
    files = place.rglob("*") if place.is_dir() else [place]
    weights = [f for f in files if f.suffix in WEIGHTS and f.is_file()]
    if not weights:
        return "absent", f"{description}; {place} holds no file of weights; {fetch}"
    return "ok", f"{description}; {place}: {', '.join(f'{f.name} {models.digest(f)[:12]}' for f in sorted(weights))}"


FREE_GB = 10
"""Minimum of free disk space in GiB; with less, `doctor` reports a problem."""


def examine(opened: Opened | None = None) -> list[Finding]:
    """Checks the installation and the machine and, if a recipe is given, all that the recipe names."""
    findings = [_python(), _opencv(), _gpu(), _memory(), _fonts(), _formats()]
    missing = [p for p in PACKAGES if p not in versions()]
    findings.append(
        Finding(
            "packages",
            "problem" if missing else "ok",
            f"missing: {', '.join(missing)}"
            if missing
            else ", ".join(f"{n} {v}" for n, v in versions().items() if n in PACKAGES),
        )
    )
    findings.append(_disk(opened.workspace.root if opened else Path(".")))
    if opened is None:
        return findings + backends(Models(os.environ.get("CURATE_MODELS")), {})
    chosen, problems = plugins_of(opened)
    findings += [_corpora(opened.recipe), *problems, *itertools.starmap(model, chosen.items()), *_mixes(opened)]
    return findings + backends(opened.models, chosen)


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
    return Finding("machine", "ok", f"{counted(cores, 'cores')}, {total:.0f} GB of memory")


def _fonts() -> Finding:
    """Checks for Chinese fonts, which only the text-image synthesizer and plots need."""
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


def _formats() -> Finding:
    """Checks for the packages that read pictures of formats which Pillow does not."""
    absent = [format for format in FORMAT_PACKAGES if not is_readable(format)]
    if absent:
        return Finding("formats", "note", f"{' and '.join(absent)} cannot be read, and such rows fail; {REMEDY}")
    return Finding("formats", "ok", f"{' and '.join(FORMAT_PACKAGES)} can be read too")


def _disk(folder: Path) -> Finding:
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 2**30
    low = free < FREE_GB
    return Finding("disk", "problem" if low else "ok", f"{free:.0f} GB free at {folder}{'; too little' if low else ''}")


def _corpora(recipe: Recipe) -> Finding:
    from curation.corpora.listing import list_sources

    counts = []
    for corpus in recipe.corpora:
        try:
            counts.append(f"{corpus.name}: {counted(len(list_sources(corpus).sources), 'shards')}")
        except UserError as error:
            return Finding("corpora", "problem", str(error))
    return Finding("corpora", "ok", ", ".join(counts))


def _mixes(opened: Opened) -> list[Finding]:
    """Returns a note for each signal that was scored with several sets of library versions.

    Such scores may differ in their last digits.
    """

    findings = []
    shards = opened.shards()
    for name in opened.recipe.signals:
        used: set[str] = set()
        for shard in shards:
            used |= libraries_of(opened.workspace.signal(name, *shard))
        if len(used) > 1:
            findings.append(
                Finding(f"signals.{name}", "note", f"scored with different libraries: {' | '.join(sorted(used))}")
            )
    return findings
