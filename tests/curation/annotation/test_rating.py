"""The list of images to be rated: every line is checked, and the images of a prompt are dealt into groups."""

import os
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.annotation.rating import GROUP, RATING_CRITERIA, RATING_HELP, RATINGS, image_path, read_list
from curation.errors import UserError


def listed(folder: Path, *lines: str, images: int = 0) -> Path:
    """Writes a list, and the images that it may name: `0.png`, `1.png` …"""
    folder.mkdir(exist_ok=True)
    for n in range(images):
        (folder / f"{n}.png").write_bytes(b"any")
    path = folder / "list.csv"
    path.write_text("\n".join(("prompt,image,model", *lines)) + "\n", encoding="utf-8")
    return path


def test_a_list_is_dealt_into_groups_of_one_prompt(tmp_path: Path) -> None:
    lines = [f"{prompt},{n}.png,{model}" for n, (prompt, model) in enumerate(
        [(prompt, model) for prompt in ("a cat", "一只狗") for model in ("ours", "theirs") for _ in range(5)] + [("x", "ours")])]  # fmt: skip
    found = read_list(listed(tmp_path, *lines, images=21))
    assert sorted(image.image for image in found) == sorted(f"{n}.png" for n in range(21))
    assert len({image.item for image in found}) == 21 and not any("ours" in image.item for image in found)
    sizes = Counter((image.prompt, image.group) for image in found)
    assert sizes == {("a cat", 0): 4, ("a cat", 1): 3, ("a cat", 2): 3, ("一只狗", 3): 4, ("一只狗", 4): 3,
                     ("一只狗", 5): 3, ("x", 6): 1}  # fmt: skip
    assert max(sizes.values()) == GROUP
    assert [image.group for image in found] == sorted(image.group for image in found)
    of_cat = [image.model for image in found if image.prompt == "a cat"]
    assert of_cat != sorted(of_cat) and of_cat != sorted(of_cat, reverse=True)  # else the place tells the model
    assert read_list(tmp_path / "list.csv") == found
    assert Counter(image.group for image in read_list(tmp_path / "list.csv", most=10)) == {0: 10, 1: 10, 2: 1}


def test_a_list_in_parquet_with_folders(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours/1.png").write_bytes(b"any")
    table = pa.table({"prompt": ["a, b"], "image": ["./ours//1.png"], "model": [7.0], "seed": [1]})
    pq.write_table(table, tmp_path / "list.parquet")
    (found,) = read_list(tmp_path / "list.parquet")
    assert (found.prompt, found.image, found.model, found.group) == ("a, b", "ours/1.png", "7", 0)


@pytest.mark.parametrize(("line", "says"), [
    (" ,0.png,ours", "line 3: prompt: it is empty; write the text that the image was made from"),
    ("x,0.png,", "line 3: model: it is empty; write who made the image"),
    ("x,,ours", "line 3: image: it is empty; write its path"),
    ("x,none.png,ours", "line 3: image: there is no file none.png in "),
    ("x,below,ours", "line 3: image: there is no file below in "),
    ("x,../outside.png,ours", "line 3: image: ../outside.png lies outside of "),
    ("x,below/../../outside.png,ours", "line 3: image: ../outside.png lies outside of "),
    ("x,/etc/passwd,ours", "line 3: image: /etc/passwd lies outside of "),
    ("x,link.png,ours", "line 3: image: link.png lies outside of "),
    ("x,circle,ours", "line 3: image: "),
    (f"x,{'n' * 300}.png,ours", "line 3: image: "),
    ("y,./1.png,theirs", "line 3: image: 1.png stands already in line 2; name each image once"),
])  # fmt: skip
def test_a_wrong_line_is_told_by_its_place(tmp_path: Path, line: str, says: str) -> None:
    (tmp_path / "outside.png").write_bytes(b"secret")
    path = listed(tmp_path / "list", "x,1.png,ours", line, images=2)
    (path.parent / "below").mkdir()
    os.symlink(tmp_path / "outside.png", path.parent / "link.png")
    os.symlink(path.parent / "circle", path.parent / "circle")
    with pytest.raises(UserError) as caught:
        read_list(path)
    assert str(caught.value).startswith(f"{path}: {says}") and "\n" not in str(caught.value)


def test_no_list_and_an_empty_one_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_list(tmp_path / "none.csv")
    with pytest.raises(UserError, match="it names no image"):
        read_list(listed(tmp_path))
    (tmp_path / "other.csv").write_text("promt,image,model\n")
    with pytest.raises(UserError, match='the column "prompt" is missing; did you mean "promt"'):
        read_list(tmp_path / "other.csv")


def test_an_image_that_became_a_link_out_of_the_folder_is_refused_when_it_is_read(tmp_path: Path) -> None:
    folder = listed(tmp_path / "list", images=1).parent
    assert image_path(folder, "0.png") == folder.resolve() / "0.png"
    (folder / "0.png").unlink()
    (tmp_path / "secret").write_bytes(b"secret")
    os.symlink("../secret", folder / "0.png")
    with pytest.raises(ValueError, match="lies outside"):
        image_path(folder, "0.png")
    with pytest.raises(ValueError, match="null"):
        image_path(folder, "a\0b")


def test_every_criterion_has_a_column_and_is_explained_in_both_languages() -> None:
    assert set(RATING_CRITERIA) <= set(RATINGS.names) and RATING_HELP.keys() == set(RATING_CRITERIA)
    assert all(words.keys() == {"en", "zh"} and all(words.values()) for words in RATING_HELP.values())
