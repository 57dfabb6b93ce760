"""Evaluates the cascade's SQL over small tables in memory."""

import duckdb
import pyarrow as pa

from curation.errors import UserError
from curation.recipe.predicates import failing
from curation.workspace.sql import connect


class Decider:
    """Evaluates SQL expressions over small tables in memory, on one connection."""

    def __init__(self) -> None:
        self._connection = connect(threads=1)

    def numbers(self, table: pa.Table, sql: str, key: str = "a predicate of the recipe") -> list[int]:
        """Evaluates an expression; returns one number for each row.

        Args:
            table: the rows.
            sql: an expression over the columns of the table, with a numeric value.
            key: the recipe's key of the expression, for errors; a predicate of `select.where` brings its own.

        Raises:
            UserError: a predicate fails on a value (a cast, a division).
        """
        self._connection.register("rows", table)
        try:
            return list(self._connection.execute(f"SELECT {sql} AS n FROM rows").fetchnumpy()["n"].tolist())
        except duckdb.Error as error:
            failed_key = failing(sql, lambda part: self._connection.execute(f"SELECT max({part}) FROM rows"))
            raise run_error(error, failed_key or key) from None
        finally:
            self._connection.unregister("rows")


def run_error(error: duckdb.Error, key: str = "select.where") -> UserError:
    """Returns the UserError for a valid expression that failed on a value."""
    return UserError(str(error).splitlines()[0], key)
