"""Embeddings out of Parquet files: any rows in any order, none, and rows without one."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curation.scoring.vectors import directions, matrix, read_vectors
from curation.workspace.files import write_table

WIDTH = 4
VECTORS = np.arange(48).reshape(12, WIDTH).astype(np.float16)
KIND = pa.list_(pa.float16(), WIDTH)


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Three files of four rows each; the second row of each has no embedding."""
    found = [tmp_path / f"{n}.parquet" for n in range(3)]
    mask = pa.array([False, True, False, False])
    for path, part in zip(found, np.split(VECTORS, 3), strict=True):
        column = pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), type=KIND, mask=mask)
        write_table(path, pa.table({"embedding": column}))
    return found


def test_rows_come_in_the_order_asked_for_and_zeros_where_there_is_none(paths: list[Path]) -> None:
    files, rows = np.array([2, 0, 2, 1, 0]), np.array([3, 0, 0, 1, 0])
    found = read_vectors(paths, files, rows, "embedding", WIDTH)
    assert found.dtype == np.float16
    assert found.tolist() == [VECTORS[i].tolist() if i != 5 else [0] * WIDTH for i in files * 4 + rows]


@pytest.mark.parametrize("files", [0, 3])
def test_no_rows_are_an_empty_matrix_of_the_width(paths: list[Path], files: int) -> None:
    none = np.empty(0, np.int64)
    found = read_vectors(paths[:files], none, none, "embedding", WIDTH)
    assert found.shape == (0, WIDTH) and found.dtype == np.float16


@pytest.mark.parametrize("column", [pa.chunked_array([], KIND), pa.chunked_array([[]], KIND)], ids=["none", "empty"])
def test_a_column_of_no_rows_is_an_empty_matrix_of_the_width(column: pa.ChunkedArray) -> None:
    assert matrix(column).shape == directions(column, WIDTH).shape == (0, WIDTH)


def test_a_part_of_a_column_is_that_part() -> None:
    column = pa.chunked_array([pa.FixedSizeListArray.from_arrays(pa.array(VECTORS.ravel()), type=KIND)])
    assert np.array_equal(matrix(column.slice(3, 5)), VECTORS[3:8])
