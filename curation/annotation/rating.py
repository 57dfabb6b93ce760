"""Rates generated images as in the Kolors paper, so that models can be compared by people.

Kolors: Effective Training of Diffusion Model for Photorealistic Text-to-Image Synthesis, Kuaishou, 2024, human
evaluation: about fifty reviewers see four images of a prompt at a time and rate each from 1 to 5, first by visual
appeal with the prompt hidden, then by text faithfulness and overall satisfaction with the prompt shown; every image is
rated five times. Raters do not see which model an image is by.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from curation.errors import UserError
from curation.keys import key_hash
from curation.workspace.digests import digest
from curation.workspace.user_tables import cell_text, read_user_table

RatingCriterion = Literal["visual_appeal", "text_faithfulness", "overall_satisfaction"]
RATING_CRITERIA: tuple[RatingCriterion, ...] = ("visual_appeal", "text_faithfulness", "overall_satisfaction")
"""The criteria by which an image is rated, each an integer from 1 to 5; higher is better in all of them."""
PROMPT_HIDDEN: frozenset[RatingCriterion] = frozenset({"visual_appeal"})
"""Criteria that are rated before the prompt is shown."""
RATING_HELP: dict[RatingCriterion, dict[str, str]] = {
    "visual_appeal": {
        "en": "How good does the image look, whatever it was to show? 5: excellent. 1: bad.",
        "zh": "不考虑提示词，画面本身有多美观？5 分：非常好；1 分：很差。",
    },
    "text_faithfulness": {
        "en": "How well does the image show what the prompt says? 5: all of it. 1: hardly any of it.",
        "zh": "画面与提示词的内容有多相符？5 分：完全相符；1 分：几乎不符。",
    },
    "overall_satisfaction": {
        "en": "How satisfied would you be with this image for this prompt? 5: fully. 1: not at all.",
        "zh": "对于这条提示词，您对这张图片的总体满意度如何？5 分：非常满意；1 分：完全不满意。",
    },
}
"""For each criterion, the question and the meaning of 5 and 1, by language (`en` and `zh`). The words are ours."""
GROUP, RATINGS_ASKED = 4, 5
"""Number of images of one prompt that are shown at a time at most, and number of ratings asked for each image."""
RATINGS = pa.schema(
    {
        **dict.fromkeys(("item", "image", "prompt", "model", "annotator"), pa.string()),
        **dict.fromkeys(RATING_CRITERIA, pa.int8()),
        "at": pa.timestamp("us", "UTC"),
        "revision": pa.int32(),
    }
)
"""Columns of the ratings, which are append-only; the highest revision of an item and annotator counts. A criterion is
null where the person has not rated it, or has taken the rating back."""
ORDER = "rating-order"
"""Salt of the hash by which the images of a prompt are shuffled, so that their place tells nothing of their model."""


@dataclass(frozen=True, slots=True)
class RatedImage:
    """One image to be rated."""

    item: str
    """Identifies the image without revealing its model."""
    group: int
    """Number of the group of images of one prompt that are shown together, counted from 0."""
    prompt: str
    image: str
    """The file's path relative to the folder of the list, with `/` between folders."""
    model: str


def read_list(file: Path, most: int = GROUP, complete: bool = True) -> list[RatedImage]:
    """Reads the list of images to be rated, and deals the images of each prompt into groups.

    Args:
        file: CSV or Parquet with the columns prompt, image (the file's path relative to the list's folder) and model.
        most: number of images of a group at most. The groups of a prompt differ in size by one at most.
        complete: whether every image must be there. Otherwise one that is missing is dealt like the others.

    Returns:
        the images by group: prompts in the order in which they first occur, the images of each in random order that
        is the same each time.

    Raises:
        UserError: the list names no image; a value is empty; an image is missing, is named twice, or lies outside of
            the list's folder. The message names file, line and column.
    """
    table = read_user_table(file, ("prompt", "image", "model"))
    places: dict[str, str] = {}
    prompts: dict[str, list[tuple[str, str]]] = {}
    for where, row in table.rows():
        prompt, model = _text(where, "prompt", row), _text(where, "model", row)
        image = os.path.normpath(_text(where, "image", row)).replace(os.sep, "/")
        _check(where, file.parent, image, complete)
        if image in places:
            raise UserError(f"{where}: image: {image} stands already in {places[image]}; name each image once")
        places[image] = where.removeprefix(f"{table.name}: ")
        prompts.setdefault(prompt, []).append((image, model))
    if not prompts:
        raise UserError(f"{file}: it names no image; write a line for each with its prompt, image and model")
    return list(_dealt(prompts, most))


def image_path(folder: Path, image: str) -> Path:
    """Returns the path of an image of a list, with links followed.

    Args:
        folder: the folder of the list.
        image: the path relative to it.

    Raises:
        ValueError: the file lies outside of the folder, directly or by a link.
        FileNotFoundError: there is no such file.
    """
    root = folder.resolve()
    path = (root / image).resolve()
    if not path.is_relative_to(root):
        raise ValueError(f"{image} lies outside of {folder}")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {image} in {folder}")
    return path


def _text(where: str, column: str, row: dict[str, Any]) -> str:
    text = cell_text(row[column])
    if not text:
        what = {"prompt": "the text that the image was made from", "image": "its path", "model": "who made the image"}
        raise UserError(f"{where}: {column}: it is empty; write {what[column]}")
    return text


def _check(where: str, folder: Path, image: str, complete: bool) -> None:
    try:
        image_path(folder, image)
    except FileNotFoundError as error:
        if not complete:
            return
        raise UserError(f"{where}: image: {error}") from None
    except (ValueError, OSError, RuntimeError) as error:  # a null character, a name too long, a circle of links
        raise UserError(f"{where}: image: {error}; give a path to a file below the list's folder") from None


def _dealt(prompts: dict[str, list[tuple[str, str]]], most: int) -> Iterator[RatedImage]:
    group = 0
    for prompt, images in prompts.items():
        items = sorted(
            ((digest([prompt, image, model])[:16], image, model) for image, model in images),
            key=lambda item: (key_hash(item[0], ORDER), item[0]),
        )
        groups = -(-len(items) // most)
        for number, (item, image, model) in enumerate(items):
            yield RatedImage(item, group + number * groups // len(items), prompt, image, model)
        group += groups
