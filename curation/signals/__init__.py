"""The signals. Each file of this folder defines one signal, and its name is the signal's name in the recipe.

The files of the folders in the environment variable CURATE_SIGNALS define further signals, such as the user's own.
"""

import importlib
import os
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import ValidationError

from curation.errors import UserError, nearest
from curation.models.checkpoints import Models
from curation.recipe.load import explain_validation
from curation.signals.base import Signal

__path__ += [folder for folder in os.environ.get("CURATE_SIGNALS", "").split(os.pathsep) if folder]


@cache
def names() -> tuple[str, ...]:
    """Returns the names of all signals: of the files except `base` and those that begin with `_`. Imports none."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "base" and m.name[0] != "_"))


@cache
def backends(name: str) -> dict[str, type[Signal]]:
    """Returns a signal's classes by backend, the default first; classes with a leading _ are shared bases and left out.

    Raises:
        UserError: there is no such signal (the message gives the nearest name), or its file does not define it.
    """
    if name not in names():
        raise UserError(f'signals.{name}: there is no signal "{name}"{nearest(name, names())}')
    module = importlib.import_module(f"{__name__}.{name}")
    found = [v for n, v in vars(module).items() if isinstance(v, type) and issubclass(v, Signal) and n[0] != "_"]
    found = [cls for cls in found if getattr(cls, "name", None) == name]
    if not found:
        raise UserError(f'signals.{name}: its file defines no Signal named "{name}"')
    return {cls.backend: cls for cls in found}


def make(name: str, given: Mapping[str, Any], models: Models | None = None) -> Signal:
    """Creates the signal that the recipe's `signals.NAME` describes. Raises UserError naming the key."""
    known = backends(name)
    backend = given.get("backend") or next(iter(known))
    if backend not in known:
        raise UserError(f'signals.{name}.backend: there is no "{backend}"{nearest(str(backend), known)}')
    try:
        params = known[backend].Params.model_validate({**given, "backend": backend})
    except ValidationError as error:
        raise UserError(f"signals.{name}.{explain_validation(error, known[backend].Params)}") from None
    return known[backend](params, models)


def example(name: str) -> str:
    """Returns a recipe entry for the signal with its default backend; required values are shown as three dots."""
    cls = next(iter(backends(name).values()))
    required = [field for field, info in cls.Params.model_fields.items() if info.is_required()]
    return f"{name}: {{{', '.join(f'{field}: …' for field in required)}}}"


def owner_of_column(column: str) -> str | None:
    """Returns the signal that a column belongs to, also `NAME_state` and `NAME_error`; None if no signal has it."""
    for name in names():
        if column in (f"{name}_state", f"{name}_error") or any(
            column in cls.columns for cls in backends(name).values()
        ):
            return name
    return None
