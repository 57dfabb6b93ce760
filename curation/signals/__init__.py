"""The signals. Each file here is one; its name is its name in the recipe.

So is each file of the folders that the environment variable CURATE_SIGNALS names, and each module that an installed
package announces in the group of entry points `curate.signals`: signals of one's own.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import ValidationError

from curation import extensions
from curation.errors import UserError, nearest
from curation.models.checkpoints import Models
from curation.recipe.load import wrong_value
from curation.signals.base import Signal

GROUP = "curate.signals"
"""Entry points of packages that bring signals."""

__path__ += extensions.own_folders("CURATE_SIGNALS")


@cache
def names() -> tuple[str, ...]:
    """Names of all signals there are, but for files shared by several (`_…`), without importing them."""
    return tuple(name for name in extensions.names(__path__, GROUP) if name != "base")


@cache
def backends(name: str) -> dict[str, type[Signal]]:
    """The classes of a signal by backend, its default first; a class with a leading _ is what backends have in common.

    Raises:
        UserError: there is no such signal (the nearest name is given), or an installed one cannot be had.
    """
    if name not in names():
        raise UserError(f'there is no signal "{name}"{nearest(name, names())}', f"signals.{name}")
    found = extensions.classes(__name__, GROUP, name, Signal)
    if not found:
        raise UserError(f'its file defines no Signal named "{name}"', f"signals.{name}")
    return {cls.backend: cls for cls in found}


def make(name: str, given: Mapping[str, Any], models: Models | None = None) -> Signal:
    """Creates the signal that the recipe's `signals.NAME` describes. Raises UserError naming the key."""
    known = backends(name)
    backend = given.get("backend") or next(iter(known))
    if backend not in known:
        raise UserError(f'there is no "{backend}"{nearest(str(backend), known)}', f"signals.{name}.backend")
    try:
        params = known[backend].Params.model_validate({**given, "backend": backend})
    except ValidationError as error:
        raise wrong_value(error, known[backend].Params, f"signals.{name}") from None
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
