"""Writes the blind sheet for evaluators, and the file that tells which captioner wrote which caption.

To show the sheet (columns: `SHEET` in `files.py`), go through the images by `image`, put the captions of one image
beside each other by `position`, and ask for the four criteria of each caption. `key` finds the picture.

An evaluator's answers go into a file with the columns item, evaluator and the four criteria, for `curate caption-eval
import`; a copy of the sheet with its last columns filled in is such a file.
"""

from typing import Any, TypedDict

import pyarrow as pa

from curation.annotation.caption_eval.files import COMPARED_CAPTIONS, CRITERIA, SHEET, EvalFiles
from curation.annotation.caption_eval.sample import Sample
from curation.captions.checks.check import count_han
from curation.counts import counted
from curation.errors import UserError
from curation.keys import key_hash
from curation.scoring.opened import Opened
from curation.workspace.digests import digest
from curation.workspace.files import read_table, write_table

ORDER = "caption-order"
"""Salt of the hash by which the captions of an image are shuffled."""


class ComparedCaption(TypedDict):
    """One captioner's caption of one image, a row of COMPARED_CAPTIONS."""

    item: str | None
    image: int
    key: str
    captioner: str
    backend: str
    translator: str | None
    caption_en: str | None
    caption_zh: str | None
    translated: bool
    length: int | None
    flags: list[str]


class SheetCounts(TypedDict):
    """The outcome of writing a sheet."""

    images: int
    """Number of images."""
    captioners: int
    """Number of captioners."""
    captions: int
    """Number of captions on the sheet."""
    without_caption: int
    """Number of captions that could not be made."""


def check_untouched(opened: Opened) -> None:
    """Checks that nobody has filled in the sheet where it lies, since a new sheet would overwrite the scores.

    Raises:
        UserError: the sheet holds scores.
    """
    path = EvalFiles(opened.workspace).sheet
    if path.exists():
        table = read_table(path)
        if any(name in table.column_names and table[name].null_count < table.num_rows for name in CRITERIA):
            raise UserError(f"{path} has been filled in; move it away, and import it with `curate caption-eval import`")


def write_sheet(opened: Opened, sample: Sample) -> SheetCounts:
    """Collects the sample's captions into `captions.parquet` and, without captioners' names, into `sheet.parquet`.

    Returns:
        the numbers of images, captioners and captions.

    Raises:
        UserError: no captioner has given a caption.
        FileNotFoundError: some shard was not captioned.
    """
    files, names = EvalFiles(opened.workspace), list(opened.recipe.compared_captioners)
    made = {name: _captions(files, name, sample) for name in names}
    rows = [
        _row(number, key, name, made[name][key]) for number, key in enumerate(sample.keys, start=1) for name in names
    ]
    items = [row for row in rows if row["item"]]
    if not items:
        detail = f"{', '.join(names)} captioned none of {counted(len(sample.keys), 'images')}"
        raise UserError(f"{files.root}: {detail}; the reasons are the flags in {files.root / '.parts'}")
    write_table(files.captions, pa.Table.from_pylist(rows, schema=COMPARED_CAPTIONS))
    write_table(files.sheet, pa.Table.from_pylist(_blind(items), schema=SHEET))
    return {
        "images": len(sample.keys),
        "captioners": len(names),
        "captions": len(items),
        "without_caption": len(rows) - len(items),
    }


def _captions(files: EvalFiles, captioner: str, sample: Sample) -> dict[str, dict[str, Any]]:
    """Returns the rows of one captioner's captions by image key."""
    paths = [files.part(captioner, part.corpus.name, part.shard) for part in sample.parts]
    return {row["key"]: row for path in paths for row in read_table(path).to_pylist()}


def _row(image: int, key: str, captioner: str, made: dict[str, Any]) -> ComparedCaption:
    chinese = made["caption_zh"]
    item = digest([key, captioner, made["caption_en"], chinese])[:16] if made["caption_en"] else None
    return {
        "item": item,
        "image": image,
        "key": key,
        "captioner": captioner,
        "backend": made["captioner"],
        "translator": made["translator"],
        "caption_en": made["caption_en"],
        "caption_zh": chinese,
        "translated": made["translated"],
        "length": count_han(chinese) if chinese else None,
        "flags": made["flags"],
    }


def _blind(rows: list[ComparedCaption]) -> list[dict[str, Any]]:
    """Returns the rows of the sheet: the captions of each image, shuffled, without the names of their captioners."""
    ordered = sorted(rows, key=lambda row: (row["image"], key_hash(f"{row['captioner']}/{row['key']}", ORDER)))
    positions: dict[int, int] = {}
    sheet = []
    for row in ordered:
        positions[row["image"]] = positions.get(row["image"], 0) + 1
        sheet.append(
            {
                "item": row["item"],
                "image": row["image"],
                "key": row["key"],
                "caption_zh": row["caption_zh"],
                "caption_en": row["caption_en"],
                "position": positions[row["image"]],
            }
        )
    return sheet
