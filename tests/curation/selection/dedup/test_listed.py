"""Lists of images that must not be in the set: which hashes are admitted, and how a wrong one is told."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.errors import UserError
from curation.selection.dedup.listed import Listed

HASH = hashlib.sha256(b"a picture").hexdigest()
HIGH = int(HASH[:16], 16)


def listed(folder: Path, *hashes: str) -> Path:
    path = folder / "list.csv"
    path.write_text("\n".join(("key,sha256", *(f"k{n},{value}" for n, value in enumerate(hashes)))) + "\n")
    return path


@pytest.mark.parametrize("text", [HASH, HASH.upper(), f" {HASH}"])
def test_a_hash_may_be_in_capitals(tmp_path: Path, text: str) -> None:
    assert Listed.read(str(listed(tmp_path, text))).high.tolist() == [HIGH]


def test_a_hash_in_parquet_may_be_bytes(tmp_path: Path) -> None:
    pq.write_table(pa.table({"sha256": [bytes.fromhex(HASH), HASH.encode(), None]}), tmp_path / "list.parquet")
    assert Listed.read(str(tmp_path / "list.parquet")).high.tolist() == [HIGH, HIGH, 0]


@pytest.mark.parametrize(("text", "says"), [
    (hashlib.md5(b"x").hexdigest(), "found 32, as MD5 has; `sha256sum FILE` prints them"),
    (hashlib.sha1(b"x").hexdigest(), "found 40, as SHA-1 has"), (hashlib.sha512(b"x").hexdigest(), "found 128, as SHA-512"),
    (HASH[:-1], "found 63; `sha256sum FILE`"), ("0x" + HASH, "expected 64 hexadecimal digits, found '0x"),
    (HASH[:-3] + "1_0", "expected 64 hexadecimal digits, found '"),
])  # fmt: skip
def test_another_hash_is_refused_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        Listed.read(str(listed(tmp_path, HASH, "", text)))
    assert "list.csv: line 4: sha256: not a hash: expected 64 hexadecimal digits" in str(caught.value)
    assert says in str(caught.value) and caught.value.key == "select.dedup.against"
