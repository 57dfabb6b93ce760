"""Makes the pictures of items, from the raw shards at the place that the index recorded."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import pyarrow as pa

from annotation_ui.previews import Previews
from annotation_ui.worker import Unavailable
from curation.corpora.thumbnails import Thumbnails, jpeg_of
from curation.errors import RowError, StageError, UserError, in_one_line
from curation.recipe import Recipe
from curation.workspace import Workspace

SIDES = {"thumbnail": 320, "preview": 1600, "full": 6000}
"""Longest side of each size, in pixels; a smaller image is shown as it is."""
QUALITY = {"thumbnail": 75, "preview": 88, "full": 92}
"""JPEG quality of each size."""


class Pictures:
    """Makes JPEGs of items' pictures, and keeps the small ones.

    Args:
        recipe: the recipe, whose corpora hold the images.
        previews: where resized pictures are kept.
    """

    def __init__(self, recipe: Recipe, previews: Previews) -> None:
        self._thumbnails = Thumbnails(recipe, Workspace(recipe.workspace))
        self._previews = previews

    def jpeg(self, place: Mapping[str, Any], size: str) -> bytes:
        """Returns a picture as a JPEG without metadata.

        Args:
            place: where the image lies: corpus, shard and the columns that `Source.image` takes; or `file`, the path of
                a file of its own, and `sha256`.
            size: a name in SIDES.

        Raises:
            Unavailable: the image is gone, has changed since the index, or cannot be decoded.
        """
        try:
            jpeg = self._made(place, size)
        except (RowError, StageError, UserError, OSError, LookupError, pa.ArrowException, cv2.error) as error:
            raise Unavailable(in_one_line(error, 200)) from None
        self._previews.keep(place["sha256"], size, jpeg)
        return jpeg

    def _made(self, place: Mapping[str, Any], size: str) -> bytes:
        if "file" not in place:
            return self._thumbnails.picture(place["corpus"], place["shard"], place, SIDES[size], QUALITY[size])
        data = Path(place["file"]).read_bytes()
        if hashlib.sha256(data).hexdigest() != place["sha256"]:
            raise RowError("changed", "the file has changed since it was listed")
        return jpeg_of(data, SIDES[size], QUALITY[size])
