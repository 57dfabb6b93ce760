"""The names by which tables of images call the same things."""

from collections.abc import Iterable, Mapping
from typing import Any

NAMES = {
    "key": ("key", "uid"),
    "caption": ("caption", "TEXT", "text", "prompt"),
    "url": ("url", "URL"),
    "image": ("jpg", "jpeg", "png", "webp", "image", "bytes", "image_bytes", "content"),
}
"""Columns by use, the likeliest name first: img2dataset's (`key`, `caption`, `url`, `jpg`), LAION's (`TEXT`, `URL`),
DataComp's (`uid`, `text`), JourneyDB's (`prompt`) and those of datasets on the Hugging Face hub (`image`, `text`)."""


class Columns:
    """Finds the columns of a table that hold key, caption, URL and image.

    Args:
        given: the recipe's names by use; they come before the known ones.
    """

    def __init__(self, given: Mapping[Any, str]) -> None:
        self.given = tuple(given.values())
        """The names that the recipe gives."""
        self._names = {use: (given[use],) if use in given else known for use, known in NAMES.items()}

    def of(self, columns: Iterable[str]) -> dict[str, str]:
        """Returns the name of the column for each use that the table has a column for."""
        there = set(columns)
        first = {use: next((name for name in names if name in there), None) for use, names in self._names.items()}
        return {use: name for use, name in first.items() if name is not None}
