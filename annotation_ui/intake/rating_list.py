"""Takes the recipe's list of generated images into the queue: an item for each group of images of one prompt.

An image that is missing or broken is told and left out; its group is rated without it. Which model made an image is
stored beside it for the result, and not given to the page.
"""

import hashlib
import random as chance
from collections import defaultdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2

from annotation_ui.clock import Clock
from annotation_ui.database.engine import Database
from annotation_ui.intake.listed import Listed, ListedPart, bring, is_current
from curation.annotation.rating import RatedImage, image_path, read_list
from curation.counts import counted
from curation.errors import ImageError, UserError, in_one_line
from curation.images import decode, probe
from curation.printing import tell
from curation.recipe import Recipe
from curation.workspace.digests import digest
from curation.workspace.files import stamps

MAX_BYTES = 200_000_000
"""Largest file of an image that is taken in."""
SIDE = 320
"""Pixels at which an image is decoded to see whether it can be."""
TOLD = 5
"""Number of images left out that are told one by one."""
KEY = "annotation.ratings"


def take_in(
    database: Database, clock: Clock, random: chance.Random, recipe: Recipe, project_id: int, asked: int
) -> int:
    """Brings the queue to the state of the list; returns the number of groups that were added.

    Raises:
        UserError: the list cannot be read, or a line of it is wrong; see `curation.annotation.rating.read_list`.
    """
    if recipe.annotation.ratings is None:
        return 0
    file = Path(recipe.annotation.ratings)
    try:
        rated = read_list(file, complete=False)
    except UserError as error:
        raise UserError(error.detail, KEY) from None
    paths = [str(file.parent / one.image) for one in rated]
    fingerprint = digest([str(file), [[one.item, one.group] for one in rated], stamps(paths), asked])
    if is_current(database, project_id, fingerprint):
        return 0
    groups: dict[int, list[tuple[RatedImage, dict[str, Any]]]] = defaultdict(list)
    left_out = []
    for one in rated:
        try:
            place = _picture(file.parent, one.image)
        except (ImageError, OSError, ValueError, cv2.error) as error:
            told = in_one_line(error, 300)
            left_out.append(told if one.image in told else f"{one.image}: {told}")
        else:
            groups[one.group].append((one, place))
    for line in left_out[:TOLD]:
        tell(f"curate: {file}: left out: {line}")
    if len(left_out) > TOLD:
        tell(f"curate: {file}: left out: {counted(len(left_out) - TOLD, 'images')} more")
    return bring(database, clock, random, project_id, asked, list(map(_listed, groups.values())), fingerprint)


def _picture(folder: Path, image: str) -> dict[str, Any]:
    """Returns the place of an image.

    Raises:
        ImageError: it is no image that can be decoded.
        OSError: it is missing or cannot be read.
        ValueError: it lies outside of the folder.
    """
    path = image_path(folder, image)
    stat = path.stat()
    if stat.st_size > MAX_BYTES:
        raise ImageError("too_large", f"{stat.st_size:,} bytes are over the limit of {MAX_BYTES:,}")
    return dict(_examined(str(path), stat.st_size, stat.st_mtime_ns))


@lru_cache(maxsize=100_000)
def _examined(path: str, _size: int, _changed: int) -> dict[str, Any]:
    """Decodes an image once for each size and time of change of its file."""
    data = Path(path).read_bytes()
    header = probe(data)
    decode(data, SIDE, header)
    sha256 = hashlib.sha256(data).hexdigest()
    return {"file": path, "sha256": sha256, "width": header.width, "height": header.height}


def _listed(group: list[tuple[RatedImage, dict[str, Any]]]) -> Listed:
    prompt = group[0][0].prompt
    parts = [ListedPart(one.item, {"image": one.image, "model": one.model}, place) for one, place in group]
    content = sorted([one.item, place["sha256"]] for one, place in group)
    return Listed(digest([prompt, content])[:32], parts, prompt=prompt)
