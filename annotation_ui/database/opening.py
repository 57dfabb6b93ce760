"""Opens the database that a recipe names."""

import contextlib
from typing import TYPE_CHECKING

from sqlalchemy.engine import make_url

from annotation_ui.database.engine import Database
from annotation_ui.database.migrate import migrate
from annotation_ui.settings import database_url, named_database, sqlite_file
from curation.errors import UserError

if TYPE_CHECKING:
    from curation.recipe import Recipe


def has_database(recipe: "Recipe") -> bool:
    """Returns whether the recipe's database is there; one that the recipe or the environment names always is."""
    return named_database(recipe) is not None or sqlite_file(recipe).exists()


def open_database(recipe: "Recipe", create: bool = True) -> Database:
    """Opens a recipe's database and brings it to the current version.

    Args:
        recipe: the recipe.
        create: whether to make the SQLite file if it is not there.

    Raises:
        UserError: the database's address is wrong, or there is no annotation yet.
        StorageFailed: the database cannot be reached.
    """
    file = sqlite_file(recipe)
    if not has_database(recipe):
        if not create:
            raise UserError(f"{file}: nobody votes here yet; begin with `curate annotate serve RECIPE`")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make {file.parent}: {error.strerror}", "workspace") from None
    with contextlib.ExitStack() as stack:
        database = Database(database_url(recipe))
        stack.callback(database.close)
        migrate(database)
        stack.pop_all()
    return database


def shown_address(recipe: "Recipe") -> str:
    """Returns the address of a recipe's database, without a password and options."""
    return make_url(database_url(recipe)).set(query={}).render_as_string(hide_password=True)
