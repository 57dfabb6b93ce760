"""Reads a recipe from its YAML file, and explains a mistake in it in one line."""

import os
import re
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from curation.errors import UserError, nearest
from curation.recipe.sections import Recipe
from curation.recipe.yaml_text import read_yaml, write_yaml

_SURROGATE = re.compile("[\ud800-\udfff]")
SHOWN = 100
"""Largest number of characters of a wrong value that an error message shows."""
_BY_NAME = {
    ("signals",), ("select", "where"), ("select", "balance", "shares"), ("caption_eval", "captioners"),
    ("ray", "resources", "signals"), ("ray", "resources", "stages"),
}  # fmt: skip
"""Sections whose entries the recipe names; `--set` leaves out an entry that it sets to null."""


def load_recipe(path: str | Path, overrides: list[str] | None = None) -> Recipe:
    """Reads a recipe.

    Args:
        path: the YAML file.
        overrides: `dotted.key=value`, the value in YAML; each replaces one value, or leaves out a predicate or signal
            that it sets to null.

    Raises:
        UserError: the recipe cannot be read or is wrong; one line names the file, the key and, for a wrong name, the
            nearest right one.
    """
    path = Path(path)
    raw = _read(path)
    for override in overrides or []:
        _override(raw, override)
    if place := _unusable(raw):
        raise UserError(f"{path}: {place}: holds half a character (a lone surrogate) or a NUL; write it anew")
    raw = {"name": re.sub(r"[^a-z0-9_-]+", "-", path.stem.lower())} | raw
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as error:
        wrong = wrong_value(error)
        raise UserError(wrong.detail, wrong.key, str(path)) from None
    return _resolve_paths(recipe, path.resolve().parent)


def to_yaml(recipe: Recipe) -> str:
    """Returns the full recipe as YAML, with defaults written out."""
    return write_yaml(recipe.model_dump(mode="json", by_alias=True), width=110)


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = read_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such recipe; `curate init NAME --images FOLDER` writes one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    except MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise UserError(f"{path}: {line}{error.problem}") from None
    except YAMLError as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise UserError(f"{path}: a recipe is a mapping of keys; this is {type(raw).__name__}")
    return raw


def _unusable(value: Any) -> str | None:
    """Returns the dotted key of a text that neither a file's name nor SQL can hold; None if there is none."""
    if isinstance(value, str):
        return "" if "\0" in value or not value.isascii() and _SURROGATE.search(value) else None
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        place = _unusable(inner) if _unusable(key) is None else ""
        if place is not None:
            return f"{key}.{place}".rstrip(".")
    return None


def _override(raw: dict[str, Any], override: str) -> None:
    dotted, equals, text = override.partition("=")
    keys = [k for k in dotted.strip().split(".") if k]
    if not equals or not keys:
        raise UserError(f'--set {override}: write it as --set key.key="value"')
    try:
        value = read_yaml(text)
    except YAMLError:
        value = text  # a predicate such as "a: b" is text, not YAML
    at: Any = raw
    for key in keys[:-1]:
        at = at.setdefault(key, {}) if isinstance(at, dict) else None
        if not isinstance(at, dict):
            raise UserError(f'--set {override}: "{key}" is not a section of the recipe')
    if value is None and tuple(keys[:-1]) in _BY_NAME:
        if keys[-1] not in at:
            raise UserError(f'--set {override}: there is no "{keys[-1]}" to leave out{nearest(keys[-1], at)}')
        del at[keys[-1]]
    else:
        at[keys[-1]] = value


def wrong_value(error: ValidationError, model: type[BaseModel] = Recipe, section: str = "") -> UserError:
    """Returns the first mistake that pydantic found: the key, what is wrong, and the nearest right name.

    Args:
        error: pydantic's error.
        model: the class of the section that was validated.
        section: the section's dotted key; "" for the recipe as a whole.
    """
    key, detail = _explain(error, model)
    return UserError(detail, ".".join(part for part in (section, key) if part))


def _explain(error: ValidationError, model: type[BaseModel]) -> tuple[str, str]:
    """Returns the dotted key of the first mistake ("" if it concerns the whole section) and what is wrong."""
    first = error.errors()[0]
    where = [part for part in first["loc"] if not (isinstance(part, str) and part.startswith("function-"))]
    dotted = ".".join(str(part) for part in where)
    if first["type"] == "extra_forbidden":
        return dotted, f"unknown key{nearest(str(where[-1]), _keys_at(model, where[:-1]))}"
    if first["type"] == "string_type" and where[-1:] == ["[key]"]:
        read = write_yaml(first["input"]).split()[0]
        section = ".".join(str(part) for part in where[:-2])
        return section, f'YAML reads one of the names here as {read}, no text; put it in quotes, such as "yes" or "1"'
    message = first["msg"].removeprefix("Value error, ")
    value = first.get("input")
    shown = (
        "" if first["type"] in ("missing", "value_error") or isinstance(value, dict) else f" (given: {_shown(value)})"
    )
    if not dotted:
        return "", f"{message}{shown}"
    return dotted, f"{message[:1].lower()}{message[1:]}{shown}"


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except RecursionError:
        text = type(value).__name__
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def _keys_at(model: type[BaseModel], where: list[Any]) -> list[str]:
    """Returns the keys that the section at this place knows."""
    named = False  # whether the next part is a name that the recipe has chosen: a key of a mapping to sections
    for part in where:
        if isinstance(part, int) or named:
            named = False
            continue
        annotation = model.model_fields[part].annotation
        inner = [a for a in (annotation, *get_args(annotation)) if isinstance(a, type) and issubclass(a, BaseModel)]
        if not inner:
            return []
        model, named = inner[0], get_origin(annotation) is dict
    return [field.alias or name for name, field in model.model_fields.items()]


def _resolve_paths(recipe: Recipe, folder: Path) -> Recipe:
    def resolve(text: str) -> str:
        text = os.path.expandvars(text)
        return text if "://" in text else str((folder / Path(text).expanduser()).resolve())

    if "://" in os.path.expandvars(recipe.workspace):
        raise UserError(f"{recipe.workspace} is a URL; the workspace must be a local or mounted folder", "workspace")
    dedup, annotation = recipe.select.dedup, recipe.annotation
    models = recipe.models or os.environ.get("CURATE_MODELS")
    return recipe.model_copy(
        update={
            "workspace": resolve(recipe.workspace),
            "models": resolve(models) if models else None,
            "corpora": [c.model_copy(update={"path": resolve(c.path)}) for c in recipe.corpora],
            "select": recipe.select.model_copy(
                update={
                    "dedup": dedup.model_copy(update={"against": resolve(dedup.against) if dedup.against else None})
                }
            ),
            "annotation": annotation.model_copy(
                update={"ratings": resolve(annotation.ratings) if annotation.ratings else None}
            ),
        }
    )
