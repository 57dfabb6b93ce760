"""What `curate init` is pointed at: files and ranges stand for their folder, and a wrong folder is told at once."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.cli.raw_folder import find_folder
from curation.errors import UserError
from tests.command import curate
from tests.curation.cli.test_first_recipe import put


def refusal(kind: str, given: Path) -> str:
    with pytest.raises(UserError) as caught:
        find_folder("my-set", kind, given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("given", ["{00000..00002}.tar", "0000{0..2}.tar", "0000{0,1,2}.tar", "*.tar", "0000[0-9].tar"])
def test_a_range_of_all_tars_is_their_folder(tmp_path: Path, given: str) -> None:
    for number in range(3):
        put(tmp_path / "data" / f"{number:05d}.tar")
        (tmp_path / "data" / f"{number:05d}_stats.json").write_text("{}")
    assert find_folder("my-set", "webdataset", tmp_path / "data" / given) == tmp_path / "data"


@pytest.mark.parametrize(("kind", "file"), [("webdataset", "0.tar"), ("parquet", "0.parquet"), ("folder", "cat.jpg")])
def test_a_file_is_its_folder(tmp_path: Path, kind: str, file: str) -> None:
    assert find_folder("my-set", kind, put(tmp_path / "data" / file)) == tmp_path / "data"


def test_a_part_of_the_tars_is_refused_with_what_to_do(tmp_path: Path) -> None:
    for number in range(3):
        put(tmp_path / "data" / f"{number:05d}.tar")
    says = refusal("webdataset", tmp_path / "data" / "{00000..00001}.tar")
    assert f"{tmp_path}/data holds 1 more .tar file, such as 00002.tar" in says and "ln -s" in says
    assert "2 more .tar files" in refusal("webdataset", tmp_path / "data" / "00000.tar")
    assert refusal("webdataset", tmp_path / "data" / "{00000..00004}.tar") == (
        f"no such file: {tmp_path}/data/00003.tar and 1 more"
    )
    assert refusal("webdataset", tmp_path / "data" / "x*.tar") == f"no such file: {tmp_path}/data/x*.tar"


@pytest.mark.parametrize(("kind", "files", "says"), [
    ("folder", ["00000.tar", "00000.parquet", "00000_stats.json"],
     "holds tars; run `curate init my-set --webdataset FOLDER`"),
    ("folder", ["0.parquet"], "holds Parquet files with images; run `curate init my-set --parquet FOLDER`"),
    ("folder", ["00000/000000000.jpg", "00000/000000000.json", "00000_stats.json"],
     "holds what img2dataset wrote as `files`; run `curate init my-set --files FOLDER`"),
    ("webdataset", ["2024/cat.JPG"], "holds image files; run `curate init my-set --images FOLDER`"),
    ("webdataset", ["00000/000000000.jpg", "00000.parquet"], "run `curate init my-set --parquet FOLDER`"),
    ("parquet", ["00000.tar"], "holds tars; run `curate init my-set --webdataset FOLDER`"),
    ("files", ["cat.jpg"], "holds image files; run `curate init my-set --images FOLDER`"),
    ("files", ["00000.tar", "00000.json"], "holds tars; run `curate init my-set --webdataset FOLDER`"),
    ("folder", ["cat"], None), ("folder", ["a/cat.jpg", "b/dog.png", "notes.txt"], None), ("files", ["a/cat.jpg"], None),
    ("folder", [], "is empty; give the folder that holds the images"), ("webdataset", [], "is empty"),
])  # fmt: skip
def test_a_wrong_folder_is_told_with_the_command_to_run(
    tmp_path: Path, kind: str, files: list[str], says: str | None
) -> None:
    (tmp_path / "data").mkdir()
    for file in files:
        put(tmp_path / "data" / file)
    if says is None:
        assert find_folder("my-set", kind, tmp_path / "data") == tmp_path / "data"
    else:
        assert says.replace("FOLDER", str(tmp_path / "data")) in refusal(kind, tmp_path / "data")


@pytest.mark.parametrize("kind", ["folder", "parquet", "webdataset", "files"])
def test_a_table_of_urls_is_no_corpus(tmp_path: Path, kind: str) -> None:
    pq.write_table(pa.table({"url": ["http://x/a.jpg"], "caption": ["a"]}), tmp_path / "part-0.parquet")
    says = refusal(kind, tmp_path)
    assert f"{tmp_path}/part-0.parquet holds no images (its columns: url, caption); download them first" in says


def test_images_may_be_in_a_struct_of_parquet_as_datasets_writes_them(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [{"bytes": b"x", "path": "a.jpg"}], "n": [1]}), tmp_path / "0.parquet")
    assert find_folder("my-set", "parquet", tmp_path) == tmp_path


def test_what_is_there_is_named_where_nothing_can_be_read(tmp_path: Path) -> None:
    for name in ("a.doc", "b.doc", "README"):
        (tmp_path / name).write_text("text")
    assert "but 2 × .doc, 1 × no ending; give" in refusal("folder", tmp_path)
    (tmp_path / "0.tar.gz").write_bytes(b"x")
    assert "0.tar.gz is a compressed tar" in refusal("webdataset", tmp_path)


def test_init_writes_nothing_for_a_wrong_folder(tmp_path: Path) -> None:
    put(tmp_path / "data" / "0.tar")
    refused = curate("init", "my-set", "--images", "data", cwd=tmp_path, status=2)
    assert refused.stderr == "curate: data holds tars; run `curate init my-set --webdataset data`\n"
    assert not (tmp_path / "my-set.yaml").exists()
    curate("init", "my-set", "--webdataset", "data/{0..0}.tar", cwd=tmp_path)
    assert f'path: "{tmp_path}/data"' in (tmp_path / "my-set.yaml").read_text()
