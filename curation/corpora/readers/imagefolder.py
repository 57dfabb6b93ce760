"""Metadata files of the Hugging Face hub's image folders: a table beside the images that names each of them."""

import csv
import io
import json
from typing import Any

from curation.keys import composed
from curation.texts import decode

METADATA = ("metadata.jsonl", "metadata.csv")
"""Names of the files, as https://huggingface.co/docs/datasets/image_dataset says; a row is one image."""
_FILE_NAME = "file_name"
"""The column that names the image, relative to the metadata file's folder."""


def read_metadata(name: str, data: bytes) -> tuple[dict[str, dict[str, Any]], str | None]:
    """Reads a metadata file.

    Args:
        name: the file's name, which tells its kind; one of `METADATA`.
        data: the file's bytes.

    Returns:
        The further columns of each image by the image's path, and what is wrong with the file, if anything is.
    """
    text = decode(data)
    if text is None:
        return {}, "is of no encoding that can be told for sure"
    if name.endswith(".csv"):
        rows, wrong = _csv_rows(text)
    else:
        rows, wrong = _json_lines(text)
    named = {composed(str(row.pop(_FILE_NAME)).replace("\\", "/")): row for row in rows if row.get(_FILE_NAME)}
    if wrong:
        return named, f"has {wrong} line{'s' * (wrong > 1)} that cannot be read"
    return named, None if named or not rows else f'has no column "{_FILE_NAME}"'


def _csv_rows(text: str) -> tuple[list[dict[str, Any]], int]:
    """Returns the rows of a CSV file, and the number of rows with more fields than the head has."""
    csv.field_size_limit(len(text) + 1)
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    rows: list[dict[str, Any]] = []
    wrong = 0
    for row in csv.DictReader(io.StringIO(text), delimiter=separator):
        wrong += None in row
        rows.append({name: value for name, value in row.items() if name is not None})
    return rows, wrong


def _json_lines(text: str) -> tuple[list[dict[str, Any]], int]:
    """Returns the objects, one a line, and the number of lines that are none."""
    rows, wrong = [], 0
    for line in filter(str.strip, text.split("\n")):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            wrong += 1
    return rows, wrong
