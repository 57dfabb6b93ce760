"""What there is of models: of every backend that could be named, and of those that a recipe does name."""

from collections.abc import Iterator
from dataclasses import dataclass

from curation import signals
from curation.captions.base import captioners, translators
from curation.captions.crew import Crew
from curation.cascade import Cascade
from curation.checkpoints import WEIGHTS, Models, Origin
from curation.errors import UserError
from curation.plugins import Plugin
from curation.recipe import Recipe


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    what: str
    status: str
    """ok, note, absent (a model that nobody asks for) or problem."""
    says: str


def plugins_of(recipe: Recipe) -> tuple[dict[str, Plugin], list[Finding]]:
    """The recipe's signals, captioner and translators by the recipe's keys; and why there are none."""
    found: dict[str, Plugin] = {}
    problems = []
    try:
        found |= {f"signals.{n}": s for n, s in Cascade.of(recipe, meta_known=False).signals.items()}
        found |= {f"captions.{key}": backend for key, backend in Crew(recipe).all.items()}
    except UserError as error:
        problems.append(Finding("recipe", "problem", str(error)))
    return found, problems


def model(what: str, plugin: Plugin) -> Finding:
    """Whether a plug-in of the recipe has what it needs."""
    try:
        plugin.check()
    except UserError as error:
        return Finding(what, "problem", str(error))
    return Finding(what, "ok", plugin.told or "needs no model")


def backends(models: Models, chosen: dict[str, Plugin]) -> list[Finding]:
    """Every backend there is: what is there of its models, their checksums, licences, and how to fetch them.

    Args:
        chosen: what a recipe names, by its keys.
    """
    if models.folder is None:
        says = "none is named (`models:` in a recipe, or CURATE_MODELS); there is what packages bring"
    else:
        says = f"looked for in {models.folder}" if models.folder.is_dir() else f"{models.folder} is not there"
    found = [Finding("models", "ok", says)]
    for title, key, cls in _known():
        plugin = chosen.get(key)
        own = _own_checkpoint(plugin) if isinstance(plugin, cls) else None
        told = [own] if own else [_origin(origin, cls, models) for origin in cls.origins]
        found += [Finding(title, *says) for says in told or [("ok", "needs no model of its own")]]
    return found


def _known() -> Iterator[tuple[str, str, type[Plugin]]]:
    """Title, key of the recipe, and class of every backend."""
    for name in signals.names():
        for backend, cls in signals.backends(name).items():
            yield f"{name} {backend}".strip(), f"signals.{name}", cls
    for name, captioner in captioners().items():
        yield f"captioner {name}", "captions.captioner", captioner
    for name, translator in translators().items():
        yield f"translator {name}", "captions.translator", translator


def _own_checkpoint(plugin: Plugin) -> tuple[str, str] | None:
    """What is there of a model that the recipe names; None if it is missing, or one that `origins` speak of."""
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
    """Whether a model is where its command puts it, and what to tell of it."""
    told = f"{origin.name}; licence: {origin.licence}"
    fetch = origin.fetch.replace("MODELS", str(models.folder) if models.folder else "$CURATE_MODELS")
    place = models.folder / origin.place if models.folder and origin.place else None
    if origin.place is None:
        try:
            found = backend(backend.Params()).told
        except UserError as error:
            return "problem", f"{told}; {error}"
        return "ok", f"{told}; {found}"
    fetch = f"fetch it, on a machine with a connection: {fetch}"
    if place is None or not place.exists():
        return "absent", f"{told}; {fetch}"
    files = place.rglob("*") if place.is_dir() else [place]
    weights = [f for f in files if f.suffix in WEIGHTS and f.is_file()]
    if not weights:
        return "absent", f"{told}; {place} holds no file of weights; {fetch}"
    return "ok", f"{told}; {place}: {', '.join(f'{f.name} {models.digest(f)[:12]}' for f in sorted(weights))}"
