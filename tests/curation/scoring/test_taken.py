"""No signal gives a column that another table has: a new column of any table is taken at once."""

import pyarrow as pa
import pytest

from curation.scoring.cascade import OWN_TO_PRODUCT, TAKEN
from curation.signals.base import signal_backends, signal_names
from curation.workspace import schemas

DERIVED = "PLACES"
"""The one table that is never laid beside the signals."""
TABLES = {n: found for n, found in vars(schemas).items() if isinstance(found, pa.Schema) and n != DERIVED}


@pytest.mark.parametrize("table", TABLES)
def test_every_column_of_every_table_is_taken(table: str) -> None:
    assert set(TABLES[table].names) - {OWN_TO_PRODUCT} <= TAKEN


@pytest.mark.parametrize("name", signal_names())
def test_no_signal_gives_a_column_that_is_taken(name: str) -> None:
    assert not any(TAKEN & cls.columns.keys() for cls in signal_backends(name).values())
