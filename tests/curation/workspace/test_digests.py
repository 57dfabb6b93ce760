"""Digests know every value and no order of chunks."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pytest

from curation.workspace.digests import canonical, digest, file_digest, table_digest


def test_canonical_json_knows_no_order() -> None:
    assert canonical({"b": [1, 2.5], "a": {"z": None, "y": "中"}}) == '{"a":{"y":"中","z":null},"b":[1,2.5]}'
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 2, "b": 1})
    assert digest([]) == hashlib.sha256(b"[]").hexdigest()


TABLE = pa.table({"key": ["a", "bc", None, "d"], "n": pa.array([1, 2, 3, None], pa.int64())})


def test_a_table_digest_does_not_know_chunks() -> None:
    pieces = pa.concat_tables([TABLE.slice(0, 1), TABLE.slice(1, 2), TABLE.slice(3)])
    assert pieces["key"].num_chunks == 3
    assert table_digest(pieces, ["key", "n"]) == table_digest(TABLE, ["key", "n"])
    assert table_digest(TABLE.slice(1, 2), ["key"]) == table_digest(TABLE.take([1, 2]), ["key"])


@pytest.mark.parametrize(
    "other",
    [
        TABLE.take([1, 0, 2, 3]),
        TABLE.slice(0, 3),
        TABLE.set_column(0, "key", pa.array(["ab", "c", None, "d"])),
        TABLE.set_column(0, "key", pa.array(["a", "bc", "", "d"])),
        TABLE.set_column(0, "key", pa.array(["a", "bc", "None", "d"])),
        TABLE.set_column(1, "n", pa.array([1, 2, 4, None], pa.int64())),
    ],
)
def test_a_table_digest_knows_every_value_and_its_row(other: pa.Table) -> None:
    assert table_digest(other, ["key", "n"]) != table_digest(TABLE, ["key", "n"])


def test_a_table_digest_reads_the_named_columns_only() -> None:
    assert table_digest(TABLE.drop_columns(["n"]), ["key"]) == table_digest(TABLE, ["key"])


def test_a_changed_file_has_another_digest(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"one")
    assert file_digest(path) == hashlib.sha256(b"one").hexdigest()
    path.write_bytes(b"three")
    assert file_digest(path) == hashlib.sha256(b"three").hexdigest()
