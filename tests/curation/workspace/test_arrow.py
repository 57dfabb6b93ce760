"""Arrow without pandas, in a process of its own: pyarrow looks for pandas once."""

import subprocess
import sys

from tests.command import ROOT

CODE = """
import sys
import pyarrow as pa
from curation.workspace.arrow import without_pandas

without_pandas()
table = pa.table({"a": [1, 2], "b": [None, "x"]})
assert "pandas" not in sys.modules and table.to_pylist()[1] == {"a": 2, "b": "x"}

import pandas

assert list(pandas.DataFrame({"a": [1, 2]})["a"]) == [1, 2]
assert table.to_pandas().shape == (2, 2)
"""


def test_arrays_are_made_without_pandas_which_may_be_imported_afterwards() -> None:
    subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, check=True)
