"""Finds the user's own plug-ins: files in folders that an environment variable names, and installed packages' modules.

An installed package announces a plug-in by an entry point, whose name is the plug-in's and whose value is the module
that defines it: `[project.entry-points."curate.signals"]` with `green = "green_package.green"`. Nothing of a package is
imported before a recipe, or a listing of all plug-ins, asks for it.
"""

import importlib
import os
import pkgutil
import sys
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from curation.errors import UserError, in_one_line

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Base = TypeVar("Base")


def own_folders(variable: str) -> list[str]:
    """Returns the folders that an environment variable names, separated as in PATH."""
    return [folder for folder in os.environ.get(variable, "").split(os.pathsep) if folder]


def files_in(folders: Iterable[str]) -> set[str]:
    """Returns the names of the modules in these folders, without importing them.

    A module with a leading _ is shared by several plug-ins and is none itself.
    """
    return {module.name for module in pkgutil.iter_modules(folders) if module.name[0] != "_"}


def names(folders: Iterable[str], group: str) -> list[str]:
    """Returns the names of the plug-ins in these folders and of those that packages announce in the group, sorted."""
    return sorted(files_in(folders) | _installed(group, tuple(sys.path)).keys())


def classes(package: str, group: str, name: str, base: type[Base]) -> list[type[Base]]:
    """Returns the classes of a plug-in, in the order of its module: subclasses of `base` whose `name` is the plug-in's.

    Args:
        package: the package whose `__path__` holds the folders of plug-ins, already imported.
        group: the group of entry points.
        name: the plug-in's name.
        base: the class that plug-ins of this kind are derived from.

    Returns:
        The classes; an empty list if there is no plug-in of that name, or its file defines no such class.

    Raises:
        UserError: an entry point's module cannot be imported or defines no such class, or its name is taken.
    """
    entries = _installed(group, tuple(sys.path)).get(name, [])
    if name in files_in(sys.modules[package].__path__):
        if entries:
            raise UserError(f"{_told(entries[0])}: the name is taken by {package}.{name}; rename the entry point")
        return _defined(importlib.import_module(f"{package}.{name}"), name, base)
    if not entries:
        return []
    entry = entries[0]
    if len(entries) > 1:
        raise UserError(f"{_told(entry)}: the name is taken by {_told(entries[1])}; uninstall one of them")
    if entry.attr:
        raise UserError(f'{_told(entry)}: names "{entry.value}"; let it name the module alone, {entry.module}')
    try:
        module = importlib.import_module(entry.module)
    except Exception as error:  # whatever a package of someone else's may raise
        kind = type(error).__name__
        raise UserError(f"{_told(entry)}: cannot import {entry.module}: {kind}: {in_one_line(error)}") from error
    if not (plugins := _defined(module, name, base)):
        raise UserError(f'{_told(entry)}: {entry.module} defines no {base.__name__.strip("_")} named "{name}"')
    return plugins


def _defined(module: object, name: str, base: type[Base]) -> list[type[Base]]:
    """Returns a module's subclasses of `base` with that `name`, without those with a leading _, which are bases."""
    subclasses = [v for n, v in vars(module).items() if isinstance(v, type) and issubclass(v, base) and n[0] != "_"]
    return [cls for cls in subclasses if getattr(cls, "name", None) == name]


@cache
def _installed(group: str, path: tuple[str, ...]) -> "dict[str, list[EntryPoint]]":
    """Returns the group's entry points by name, of the packages on the path."""
    from importlib.metadata import entry_points  # some milliseconds, and more to look at every package

    by_name: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=group):
        by_name.setdefault(entry.name, []).append(entry)
    return by_name


def _told(entry: "EntryPoint") -> str:
    """Returns the entry point in words, for errors."""
    return f'entry point "{entry.name}" of {entry.group} in {entry.dist.name if entry.dist else "?"}'
