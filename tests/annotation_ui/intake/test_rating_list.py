"""Generated images as items: groups of one prompt, models hidden, five ratings an image, and what is broken left out."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from annotation_ui.database.tables import items
from annotation_ui.intake import has_items
from annotation_ui.items import described
from annotation_ui.pictures import Pictures
from annotation_ui.task import read_tasks
from annotation_ui.transfer.export import export
from annotation_ui.worker import previews_of
from curation.annotation.rating import GROUP, RATING_CRITERIA, RATINGS, RATINGS_ASKED
from curation.annotation.rating_table import table
from curation.errors import UserError
from curation.recipe import Recipe
from curation.workspace import Workspace
from curation.workspace.files import read_table
from tests import bench, voted

MODELS = ("kolors", "other")


@pytest.fixture
def made(tmp_path: Path) -> Recipe:
    """Six images of one prompt and two of another, by two models."""
    folder = tmp_path / "generated"
    lines = ["prompt,image,model"]
    for number in range(8):
        model, prompt = MODELS[number % 2], "一只猫, asleep" if number < 6 else "a dog"
        file = folder / model / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bench.encoded(bench.picture(number, (40, 30 + number)), "PNG"))
        lines.append(f'"{prompt}",{model}/{number}.png,{model}')
    (folder / "list.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return voted.workspace(tmp_path, annotation={"ratings": "./generated/list.csv"})


def folder(made: Recipe) -> Path:
    return Path(str(made.annotation.ratings)).parent


def rows(tool: voted.Tool) -> list[Any]:
    number = voted.project(tool, "rating")
    return list(tool.database.read(lambda c: c.execute(select(items).where(items.c.project_id == number)).all()))


def images(row: Any) -> set[str]:
    return {part["image"] for part in row.content["parts"]}


def rate(tool: voted.Tool, name: str, value: dict[str, int]) -> None:
    """Lets a person rate all images; `value` is the rating of each model's images."""
    while claims := voted.claim(tool, name, "rating"):
        for claimed in claims:
            parts = voted.item(tool, claimed.item_id).content["parts"]
            answer = {part["id"]: dict.fromkeys(RATING_CRITERIA, value[part["model"]]) for part in parts}
            voted.cast(tool, name, claimed, task="rating", answer=answer)


def test_groups_of_at_most_four_images_of_one_prompt(made: Recipe) -> None:
    with voted.opened(made) as tool:
        found = rows(tool)
    assert sorted(len(row.content["parts"]) for row in found) == [2, 3, 3] and GROUP == 4
    assert {row.asked for row in found} == {RATINGS_ASKED} and len(set().union(*map(images, found))) == 8
    for row in found:
        assert row.content["prompt"] == ("a dog" if len(row.content["parts"]) == 2 else "一只猫, asleep")
        for part, picture in zip(row.content["parts"], row.content["pictures"], strict=True):
            assert picture["file"] == str(folder(made) / part["image"])
            assert (picture["width"], picture["height"]) == (40, 30 + int(Path(part["image"]).stem))


def test_the_page_shows_the_pictures_and_is_told_no_model(made: Recipe) -> None:
    with voted.opened(made) as tool:
        claims, who = voted.claim(tool, "Ann", "rating"), voted.person(tool, "Ann")
        shown = tool.database.read(lambda c: described(c, claims, who, tool.clock(), 0.1))
        text = json.dumps([one.model_dump() for one in shown])
        stored = {part["item"] for row in rows(tool) for part in row.content["parts"]}
        place = rows(tool)[0].content["pictures"][0]
    assert not any(secret in text for secret in (*MODELS, ".png", str(folder(made)), *stored))
    assert all(len(one.pictures) == len(one.parts or []) for one in shown)
    assert Pictures(made, previews_of(made)).jpeg(place, "preview")[:2] == b"\xff\xd8"


def test_ratings_come_back_into_a_table_of_models(made: Recipe) -> None:
    with voted.opened(made) as tool:
        rate(tool, "Ann", {"kolors": 5, "other": 2})
        rate(tool, "王芳", {"kolors": 4, "other": 3})
        assert export(tool.database, tool.clock, made)["rating"] == {"ratings": 16}
        path = Workspace(made.workspace).ratings
        ratings = read_table(path)
        assert ratings.schema.remove_metadata() == RATINGS
        result = table(ratings)
        appeal = {row.model: row.estimates["visual_appeal"] for row in result.rows}
        assert {name: found and found.mean for name, found in appeal.items()} == {"kolors": 4.5, "other": 2.5}
        assert (result.prompts, result.images, result.annotators) == (2, 8, 2)
        before = path.read_bytes()
        assert export(tool.database, tool.clock, made)["rating"] == {"ratings": 0} and path.read_bytes() == before


def test_a_rating_that_is_taken_back_counts_no_more(made: Recipe) -> None:
    with voted.opened(made) as tool:
        (claimed,) = voted.claim(tool, "Ann", "rating", wanted=1)
        parts = voted.item(tool, claimed.item_id).content["parts"]
        answer = {part["id"]: dict.fromkeys(RATING_CRITERIA, 4) for part in parts}
        voted.cast(tool, "Ann", claimed, task="rating", answer=answer)
        voted.withdraw(tool, "Ann", claimed, 1, task="rating")
        export(tool.database, tool.clock, made)
    with pytest.raises(UserError, match="no ratings"):
        table(read_table(Workspace(made.workspace).ratings))


def test_a_missing_and_a_broken_image_are_told_and_left_out(made: Recipe, capsys: pytest.CaptureFixture[str]) -> None:
    (folder(made) / "other/1.png").unlink()
    data = (folder(made) / "kolors/6.png").read_bytes()
    (folder(made) / "kolors/6.png").write_bytes(data[: len(data) // 2])
    (folder(made) / "other/3.png").unlink()
    os.mkfifo(folder(made) / "other/3.png")  # to read it would wait for ever
    with voted.opened(made) as tool:
        assert set().union(*map(images, rows(tool))) == {f"{MODELS[n % 2]}/{n}.png" for n in (0, 2, 4, 5, 7)}
        told = capsys.readouterr().err
        assert told.count("left out") == 3 and "other/1.png" in told and "kolors/6.png" in told
        tool.take_in()
        assert capsys.readouterr().err == ""
        (folder(made) / "kolors/6.png").write_bytes(data)
        tool.take_in()
        assert "kolors/6.png" in set().union(*(images(row) for row in rows(tool) if row.status == "open"))


def test_a_huge_file_is_left_out_unread(
    made: Recipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open(folder(made) / "kolors/0.png", "r+b") as file:
        file.truncate(10**12)  # sparse
    with voted.opened(made) as tool:
        assert "kolors/0.png" not in set().union(*map(images, rows(tool)))
    assert "1,000,000,000,000 bytes are over the limit" in capsys.readouterr().err


def test_an_image_outside_of_the_folder_is_refused_also_by_a_link(made: Recipe, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(bench.encoded(bench.picture(99), "PNG"))
    listed = folder(made) / "list.csv"
    whole = listed.read_text()
    (folder(made) / "link.png").symlink_to(tmp_path / "secret.png")
    for path in ("link.png", "../secret.png", str(tmp_path / "secret.png")):
        listed.write_text(f"{whole}a dog,{path},kolors\n")
        with voted.closing(voted.open_tool(made)) as tool:
            with pytest.raises(UserError, match=r"annotation.ratings: .*line 10: image: .*outside") as told:
                tool.take_in()
            assert "\n" not in str(told.value) and len(voted.claim(tool, "Ann")) == 6


@pytest.mark.parametrize(
    "text", ["prompt,image\na,b\n", "prompt,image,model\n", "prompt,image,model\na,kolors/0.png,\n"]
)
def test_a_wrong_list_is_one_line(made: Recipe, text: str) -> None:
    (folder(made) / "list.csv").write_text(text)
    with voted.closing(voted.open_tool(made)) as tool, pytest.raises(UserError, match="annotation.ratings: "):
        tool.take_in()


def test_hostile_names_are_harmless(made: Recipe, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["\x1b[2J\u202e.png", "'; drop table votes; --.png", "%s{0}.png", "a" * 300 + ".png"]
    for name in names[:3]:
        (folder(made) / name).write_bytes(bench.encoded(bench.picture(7), "PNG"))
    with open(folder(made) / "list.csv", "a", encoding="utf-8") as file:
        file.writelines(f'<img src=x>,"{name}",<b>\n' for name in names[:3])
        file.write("missing,\x1b[31mnone.png,kolors\n")
    with voted.opened(made) as tool:
        assert set(names[:3]) < set().union(*map(images, rows(tool)))
    assert "\x1b" not in capsys.readouterr().err


def test_a_list_that_has_moved_keeps_its_votes_and_another_image_is_another_item(made: Recipe, tmp_path: Path) -> None:
    with voted.opened(made) as tool:
        rate(tool, "Ann", dict.fromkeys(MODELS, 3))
        parts = {row.id: row.content["parts"] for row in rows(tool)}
    moved = folder(made).rename(tmp_path / "elsewhere")
    made = made.model_copy(
        update={"annotation": made.annotation.model_copy(update={"ratings": str(moved / "list.csv")})}
    )
    with voted.opened(made) as tool:
        assert {row.id: row.content["parts"] for row in rows(tool)} == parts
        files = [picture["file"] for row in rows(tool) for picture in row.content["pictures"]]
        assert all(file.startswith(str(moved)) for file in files) and {row.voted for row in rows(tool)} == {1}
        (moved / "kolors/6.png").write_bytes(bench.encoded(bench.picture(77), "PNG"))
        tool.take_in()
        assert sorted((row.status, row.voted) for row in rows(tool)) == [
            ("open", 0), ("open", 1), ("open", 1), ("withdrawn", 1)]  # fmt: skip


def test_the_prompt_comes_after_the_first_criterion_and_nothing_is_asked_without_a_list(made: Recipe) -> None:
    task = read_tasks()["rating"]
    assert tuple(criterion.name for criterion in task.criteria) == RATING_CRITERIA
    assert [criterion.needs_prompt for criterion in task.criteria] == [False, True, True]
    assert task.votes == RATINGS_ASKED and task.layout == "images"
    assert has_items("rating_list", made)
    without = made.annotation.model_copy(update={"ratings": None})
    assert not has_items("rating_list", made.model_copy(update={"annotation": without}))
