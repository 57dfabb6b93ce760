"""Where an evaluation of captions keeps its files in the workspace, and their columns."""

from pathlib import Path

import pyarrow as pa

from curation.workspace import Workspace
from curation.workspace.schemas import CAPTIONS

CRITERIA = ("completeness", "correlation", "hallucination", "subjectivity")
"""What a caption is scored by, each a whole number from 1 to 5; higher is better in all of them."""
_SCORES = dict.fromkeys(CRITERIA, pa.int8())

PART = pa.schema([field for field in CAPTIONS if field.name != "captioned_as"])
CAPTIONS = pa.schema(
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
"""`captioner` is its name in the recipe, `backend` the one that it runs; `length` counts the Chinese characters of
`caption_zh` (no punctuation, digits or Latin letters), null where there is none. A row whose captioner gave no caption
has no item. Rows go by `image` (1, 2, …, in the order of the sample) and then in the order of the recipe's captioners.
"""
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
"""What an evaluator gets: `item` stands for one caption and tells nothing of whose it is; `position` (1, 2, …) is its
place beside the others of its image, shuffled anew for each image; the last five columns are to be filled in."""
SCORES = pa.schema({"item": pa.string(), "evaluator": pa.string(), **_SCORES, "revision": pa.int32()})
"""Append-only; the highest revision of an item and evaluator counts."""


class EvalFiles:
    """Paths below `WORKSPACE/caption_eval`."""

    def __init__(self, workspace: Workspace) -> None:
        self.root = workspace.root / "caption_eval"

    def part(self, captioner: str, corpus: str, shard: str) -> Path:
        """One captioner's captions of the images of the sample that lie in one raw shard (see PART)."""
        return self.root / ".parts" / captioner / corpus / f"{shard}.parquet"

    @property
    def captions(self) -> Path:
        """All captions, with the captioners' names (see CAPTIONS)."""
        return self.root / "captions.parquet"

    @property
    def sheet(self) -> Path:
        """The blind sheet (see SHEET)."""
        return self.root / "sheet.parquet"

    @property
    def scores(self) -> Path:
        """Every score ever imported (see SCORES)."""
        return self.root / "scores.parquet"
