"""The signals. Each file here is one; its name is its name in the recipe.

So is each file of the folders that the environment variable CURATE_SIGNALS names: signals of one's own.
"""

import importlib
import os
import pkgutil
from functools import cache

from curation.errors import UserError, nearest
from curation.signals.base import Signal

__path__ += [folder for folder in os.environ.get("CURATE_SIGNALS", "").split(os.pathsep) if folder]


@cache
def names() -> tuple[str, ...]:
    """Names of all signals there are: the files of this folder, without importing them."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "base"))


@cache
def load(name: str) -> type[Signal]:
    """The class of a signal. Raises UserError, with the nearest name, if there is none such."""
    if name not in names():
        raise UserError(f'signals.{name}: there is no signal "{name}"{nearest(name, names())}')
    module = importlib.import_module(f"{__name__}.{name}")
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Signal) and getattr(value, "name", None) == name:
            return value
    raise UserError(f'signals.{name}: its file defines no Signal named "{name}"')


def owner_of_column(column: str) -> str | None:
    """The signal that gives a column, `NAME_state` and `NAME_error` included; None if no signal does."""
    for name in names():
        if column in (f"{name}_state", f"{name}_error") or column in load(name).columns:
            return name
    return None
