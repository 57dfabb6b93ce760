"""Writing thresholds into a recipe: the digits that move and nothing else, or a clear refusal."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from curation.errors import StageError, UserError
from curation.recipe import load_recipe
from curation.recipe.predicates import admit
from curation.recipe.thresholds import Threshold, thresholds
from curation.views.tune.recipe_text import RecipeText

COLUMNS = {"sharpness": "FLOAT", "min_side": "INTEGER", "aspect_ratio": "FLOAT", "caption": "VARCHAR"}
HEAD = "workspace: ./w  # here\ncorpora: [{name: c,   path: ./raw}]\n\nselect:\n"
TAIL = "  dedup: {exact: true}   # é\n# end\n"


def opened(folder: Path, where: str, newline: str = "\n") -> RecipeText:
    path = folder / "recipe.yaml"
    path.write_bytes((HEAD + where + TAIL).replace("\n", newline).encode())
    return RecipeText(path)


def move(file: RecipeText, name: str, *numbers: float) -> tuple[list[Threshold], dict[int, float]]:
    found = thresholds(admit(name, file.where[name], COLUMNS), COLUMNS)
    return found, dict(enumerate(numbers))


@pytest.mark.parametrize(
    ("where", "name", "numbers", "old", "new"),
    [
        ("  where:\n    # 30?\n    sharp:   sharpness >= 30   # not 30\n", "sharp", [25.5], ">= 30 ", ">= 25.5 "),
        ("  where: {sharp: 'min_side >= 30 and caption <> ''30'''}\n", "sharp", [-7], ">= 30", ">= -7"),
        ('  where: {"sharp": "sharpness \\u003e= 30"}\n', "sharp", [31], "= 30", "= 31"),
        ("  where:\n    sharp: |2-\n      min_side >= 2\n       or sharpness < 2\n", "sharp", [1, 2], ">= 2", ">= 1"),
        ("  where:\n    sharp: >-\n      sharpness\n      >= 30.50\n", "sharp", [30], "30.50", "30"),
        ("  where:\n    sharp: &a30 sharpness >= 30\n", "sharp", [31], ">= 30", ">= 31"),
        ("  where:\n    sharp: !!str sharpness >= 30\n", "sharp", [31], ">= 30", ">= 31"),
        (
            "  where:\n    sharp: aspect_ratio\n      between 30\n      and 30\n", "sharp", [30, 31], "and 30", "and 31",
        ),
        ("  where:\n    ? sharp\n    : sharpness >= 30\n", "sharp", [31], ">= 30", ">= 31"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_only_the_digits_change(
    tmp_path: Path, where: str, name: str, numbers: list[float], old: str, new: str, newline: str
) -> None:
    file = opened(tmp_path, where, newline)
    before = file.path.read_bytes()
    found, values = move(file, name, *numbers)
    text = file.edited(file.recipe, {name: (found, values)})
    assert text.encode() == before.replace(old.encode(), new.encode(), 1)
    file.path.chmod(0o640)
    written = file.write(text)
    assert file.path.read_bytes() == text.encode() and file.path.stat().st_mode & 0o777 == 0o640
    assert written.select.where[name] == load_recipe(file.path).select.where[name]


def test_the_lines_that_change_are_shown(tmp_path: Path) -> None:
    file = opened(tmp_path, "  where:\n    size: min_side >= 256\n    sharp: sharpness >= 30 # crisp\n")
    diff = file.diff(file.edited(file.recipe, {"sharp": move(file, "sharp", 12)}))
    assert diff[1:] == [
        "     size: min_side >= 256",
        "-    sharp: sharpness >= 30 # crisp",
        "+    sharp: sharpness >= 12 # crisp",
        "   dedup: {exact: true}   # é",
    ]


@pytest.mark.parametrize(
    ("where", "name", "message"),
    [
        ("  where:\n    size: &a sharpness >= 30\n    sharp: *a\n", "sharp", "sharp is an alias of another value"),
        ("  where:\n    size: &a sharpness >= 30\n    sharp: *a\n", "size", "cannot be edited in place .* by hand"),
        ("  where:\n    <<: {sharp: sharpness >= 30}\n    size: min_side > 3\n", "sharp", "comes from a merge"),
        (
            '  where: {sharp: "sharpness >= \\x33\\x30"}\n',
            "sharp",
            "cannot be edited .* to select.where.sharp: sharpness >= 12",
        ),
    ],
)
def test_what_stands_elsewhere_is_refused(tmp_path: Path, where: str, name: str, message: str) -> None:
    file = opened(tmp_path, where)
    with pytest.raises(UserError, match=message):
        file.edited(file.recipe, {name: move(file, name, 12)})


def test_an_override_is_not_written(tmp_path: Path) -> None:
    file = opened(tmp_path, "  where:\n    sharp: sharpness >= 30\n")
    shown = load_recipe(file.path, ["select.where.sharp=sharpness >= 20"])
    with pytest.raises(UserError, match="sharp was given by --set .* start `curate tune` without it"):
        file.edited(shown, {"sharp": move(file, "sharp", 12)})


def test_a_file_that_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    file = opened(tmp_path, "  where:\n    sharp: sharpness >= 30\n")
    text = file.edited(file.recipe, {"sharp": move(file, "sharp", 12)})
    file.path.write_text(file.path.read_text() + "# a note\n")
    with pytest.raises(StageError, match="changed on disk since it was loaded"):
        file.write(text)
    assert file.path.read_text().endswith("# a note\n")


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    file = opened(tmp_path, "  where:\n    sharp: sharpness >= 30\n")
    (tmp_path / "link.yaml").symlink_to(file.path)
    linked = RecipeText(tmp_path / "link.yaml")
    linked.write(linked.edited(linked.recipe, {"sharp": move(linked, "sharp", 12)}))
    assert (tmp_path / "link.yaml").is_symlink() and "sharpness >= 12\n" in file.path.read_text()


@contextmanager
def anyone() -> Iterator[None]:
    """Within, this process has no more rights than others: root may write everything."""
    if os.getuid() != 0:
        yield
        return
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def test_a_write_protected_recipe_is_not_replaced() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        file = opened(Path(folder), "  where:\n    sharp: sharpness >= 30\n")
        text, before = file.edited(file.recipe, {"sharp": move(file, "sharp", 12)}), file.path.read_bytes()
        file.path.chmod(0o444)
        with anyone(), pytest.raises(UserError, match=r"recipe.yaml: is write-protected; allow it \(chmod u\+w\)"):
            file.write(text)
        assert file.path.read_bytes() == before
