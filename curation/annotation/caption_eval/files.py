"""Defines the paths and columns of the files of a caption evaluation."""

from pathlib import Path
from typing import Literal

import pyarrow as pa

from curation.workspace import Workspace
from curation.workspace.schemas import CAPTIONS

Criterion = Literal["completeness", "correlation", "hallucination", "subjectivity"]
CRITERIA: tuple[Criterion, ...] = ("completeness", "correlation", "hallucination", "subjectivity")
"""The criteria by which a caption is scored, each an integer from 1 to 5; higher is better in all of them."""
_SCORES: dict[str, pa.DataType] = dict.fromkeys(CRITERIA, pa.int8())

PART = pa.schema([field for field in CAPTIONS if field.name != "captioned_as"])
"""Columns of one captioner's captions of the images in one raw shard."""
COMPARED_CAPTIONS = pa.schema(
    {
        "item": pa.string(),
        "image": pa.int32(),
        "key": pa.string(),
        "captioner": pa.string(),
        "backend": pa.string(),
        "translator": pa.string(),
        "caption_en": pa.string(),
        "caption_zh": pa.string(),
        "translated": pa.bool_(),
        "length": pa.int32(),
        "flags": pa.list_(pa.string()),
    }
)
"""Columns of `captions.parquet`. `captioner` is the captioner's name in the recipe, `backend` the backend that it runs;
`length` is the number of Chinese characters of `caption_zh` (without punctuation, digits and Latin letters), null
without a Chinese caption. `item` is null in a row whose captioner gave no caption. Rows are sorted by `image` (1, 2,
…, in the order of the sample), then in the order of the recipe's captioners."""
SHEET = pa.schema(
    {
        "item": pa.string(),
        "image": pa.int32(),
        "key": pa.string(),
        "position": pa.int8(),
        "caption_zh": pa.string(),
        "caption_en": pa.string(),
        "evaluator": pa.string(),
        **_SCORES,
    }
)
"""Columns of the sheet that an evaluator gets. `item` identifies one caption without revealing its captioner;
`position` (1, 2, …) is the caption's place beside the others of its image, shuffled anew for each image; the
evaluator fills in the last five columns."""
SCORES = pa.schema({"item": pa.string(), "evaluator": pa.string(), **_SCORES, "revision": pa.int32()})
"""Columns of `scores.parquet`, which is append-only; the highest revision of an item and evaluator counts. One whose
criteria are null takes the scores back."""


class EvalFiles:
    """The paths of the files below `WORKSPACE/caption_eval`."""

    def __init__(self, workspace: Workspace) -> None:
        self.root = workspace.root / "caption_eval"

    def part(self, captioner: str, corpus: str, shard: str) -> Path:
        """Returns the path of one captioner's captions of the sample's images in one raw shard (columns: `PART`)."""
        return self.root / ".parts" / captioner / corpus / f"{shard}.parquet"

    @property
    def captions(self) -> Path:
        """Path of all captions, with the names of the captioners (columns: `COMPARED_CAPTIONS`)."""
        return self.root / "captions.parquet"

    @property
    def sheet(self) -> Path:
        """Path of the blind sheet (columns: `SHEET`)."""
        return self.root / "sheet.parquet"

    @property
    def scores(self) -> Path:
        """Path of all scores ever imported (columns: `SCORES`)."""
        return self.root / "scores.parquet"
