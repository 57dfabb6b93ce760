"""First steps: recipes that `init` and `demo` write are recipes that run."""

import re
from pathlib import Path
from typing import get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import BaseModel

from curation.cli.first_recipe import sample_folder, write_demo, write_recipe
from curation.corpora.listing import list_sources
from curation.errors import UserError
from curation.recipe import Recipe, load_recipe
from tests import bench, checkpoints


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, since that is where recipes are written; beside it lies a picture."""
    put(tmp_path / "a.jpg")
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def keys_of(model: type[BaseModel]) -> set[str]:
    """The keys of a section of the recipe and of the sections in it."""
    found = {field.alias or name for name, field in model.model_fields.items()}
    for field in model.model_fields.values():
        parts = [field.annotation, *get_args(field.annotation)]
        found = found.union(*(keys_of(p) for p in parts if isinstance(p, type) and issubclass(p, BaseModel)))
    return found


def put(path: Path) -> Path:
    """Writes a small file of an image, a tar or a table of images, and returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = bench.encoded(bench.picture(1, (64, 64)))
    if path.suffix == ".tar":
        return bench.write_tar(path, {"a.jpg": data})
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"jpg": [data], "key": ["a"]}), path)
    else:
        path.write_bytes(data)
    return path


def uncommented(text: str) -> str:
    return re.sub(r"^( *)# ( *[a-z_]+:(?=\s))", r"\1\2", text, flags=re.MULTILINE)


def test_a_new_recipe_explains_every_key(tmp_path: Path) -> None:
    text = write_recipe("my-set", {"folder": tmp_path}).read_text()
    assert {key for key in keys_of(Recipe) if not re.search(rf"\b{key}:\s", text)} == set()


def test_every_commented_key_of_a_new_recipe_may_be_used(tmp_path: Path) -> None:
    path = write_recipe("my-set", {"folder": tmp_path})
    models = checkpoints.open_clip_folder(tmp_path / "clip-l14").parent
    path.write_text(uncommented(path.read_text()))
    recipe = load_recipe(path, [f"models={models}"])
    assert recipe.model_fields_set == set(Recipe.model_fields)
    assert recipe.select.model_fields_set == set(type(recipe.select).model_fields)
    assert recipe.select.dedup.model_fields_set == set(type(recipe.select.dedup).model_fields)
    cascade = bench.opened(recipe).cascade  # what they say is admitted too
    assert {"words", "domains", "safe"} <= {p.name for p in cascade.predicates} and "embedding" in cascade.signals


@pytest.mark.parametrize("kind", ["folder", "webdataset", "parquet", "files"])
def test_a_new_recipe_loads_and_its_predicates_are_admitted(tmp_path: Path, here: Path, kind: str) -> None:
    raw = tmp_path / "raw"
    put(raw / {"folder": "a.jpg", "webdataset": "0.tar", "parquet": "0.parquet", "files": "00000/a.jpg"}[kind])
    path = write_recipe("my-set", {kind: raw})
    recipe = load_recipe(path)
    assert path == Path("my-set.yaml") and recipe.name == "my-set"
    assert recipe.workspace == str(here / "my-set-work")
    assert [(c.name, c.path, c.format) for c in recipe.corpora] == [("my-set", str(raw), kind)]
    cascade = bench.opened(recipe).cascade
    assert [p.name for p in cascade.predicates] == list(recipe.select.where) != []
    assert "{{" not in path.read_text()


def test_a_relative_folder_is_written_whole(here: Path) -> None:
    put(here / "raw" / "a.jpg")
    assert load_recipe(write_recipe("a", {"folder": Path("raw")})).corpora[0].path == str(here / "raw")


def test_the_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    put(tmp_path / "raw" / "a.jpg")
    assert load_recipe(write_recipe("a", {"folder": Path("~/raw")})).corpora[0].path == str(tmp_path / "raw")


@pytest.mark.parametrize(
    "folder",
    ["two words", "it's", 'say "x"', "a # b", "a: b", "back\\slash", "图片", "- x", "%s", "{x}", "new\nline",
     "tab\there", "null"],
)  # fmt: skip
def test_a_folder_may_have_any_name(tmp_path: Path, folder: str) -> None:
    put(tmp_path / folder / "a.jpg")
    recipe = load_recipe(write_recipe("a", {"folder": tmp_path / folder}))
    assert recipe.corpora[0].path == str(tmp_path / folder)


@pytest.mark.parametrize("name", ["2024", "1e3", "on", "null", "true", "0x1f", "a-b_c", "_", "-"])
def test_any_admitted_name_makes_a_recipe_that_loads(tmp_path: Path, name: str) -> None:
    recipe = load_recipe(write_recipe(name, {"folder": tmp_path}))
    assert recipe.name == name and recipe.corpora[0].name == name


@pytest.mark.parametrize("name", ["", "My Set", "a/b", "../a", "größe", "a.b"])
def test_a_name_that_cannot_be_one_is_refused(tmp_path: Path, here: Path, name: str) -> None:
    with pytest.raises(UserError, match="is not a name"):
        write_recipe(name, {"folder": tmp_path})
    assert list(here.iterdir()) == []


def test_a_missing_folder_is_refused(tmp_path: Path, here: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        write_recipe("a", {"folder": tmp_path / "none"})
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("kinds", [(), ("folder", "parquet")])
def test_exactly_one_corpus_is_given(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="give one of --images"):
        write_recipe("a", dict.fromkeys(kinds, tmp_path))


def test_a_recipe_is_overwritten_only_when_told_to(tmp_path: Path) -> None:
    path = write_recipe("a", {"folder": tmp_path})
    path.write_text("mine")
    with pytest.raises(UserError, match="--force"):
        write_recipe("a", {"folder": tmp_path})
    assert path.read_text() == "mine"
    write_recipe("a", {"folder": tmp_path}, force=True)
    assert load_recipe(path).name == "a"


def test_the_demo_loads_and_its_predicates_are_admitted(tmp_path: Path) -> None:
    recipe = load_recipe(write_demo(tmp_path / "demo"))
    assert recipe.workspace == str(tmp_path / "demo" / "work")
    assert (tmp_path / "demo" / "votes.csv").read_text() == (sample_folder() / "votes.csv").read_text()
    assert len(bench.opened(recipe).cascade.predicates) == len(recipe.select.where)
    assert [s.shard for s in list_sources(recipe.corpora[0]).sources] == ["00000", "00001"]


def test_the_demo_may_be_written_again(tmp_path: Path) -> None:
    assert write_demo(tmp_path).read_bytes() == write_demo(tmp_path).read_bytes()
