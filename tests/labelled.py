"""Labelled pictures: a folder of img2dataset's tars with a long `labels.csv` (key, file, kind, field, value, source)."""

import csv
import tarfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from curation.cli.first_recipe import sample_folder
from curation.images import FORMATS, ImageError, probe

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"
"""Folder of a larger corpus than the bundled one; it does not exist on every machine."""
PHOTOS = ("photo", "portrait", "people photo", "group photo", "product photo", "stock photo")
"""Kinds that are photographs as they were taken: no cutouts, drawings, screens, crops or lines of text."""

Labels = dict[str, dict[str, str]]
"""Values by field and image; the image's name is the last part of its key. Yes and no are 1 and 0."""


def read_labels(path: Path) -> Labels:
    """Reads the labels of a file. A value without a label is unknown, not zero.

    Raises:
        ValueError: the file is no table of labels; the message is one line.
    """
    labels: Labels = defaultdict(dict)
    with open(path, newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        missing = {"key", "field", "value"} - set(rows.fieldnames or ())
        if missing:
            raise ValueError(f"{path}: has no column {', '.join(sorted(missing))}; it has {rows.fieldnames}")
        for row in rows:
            value = {"true": "1", "false": "0"}.get(row["value"], row["value"])
            labels[row["field"]][row["key"].split("/")[-1]] = value
    return labels


@cache
def kinds(folder: Path) -> dict[str, str]:
    """Returns the kind of each image, in a word or two: from the tables beside the tars, else from the labels."""
    with open(folder / "labels.csv", newline="", encoding="utf-8") as file:
        kind_of = {row["key"].split("/")[-1]: row["kind"] for row in csv.DictReader(file)}
    for path in sorted(folder.glob("*.parquet")):
        if "kind" in pq.read_schema(path).names:
            kind_of |= {row["key"]: row["kind"] for row in pq.read_table(path, columns=["key", "kind"]).to_pylist()}
    return kind_of


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yields name and bytes of every picture, in order."""
    endings = (*(f".{name}" for name in FORMATS.values()), ".jpg", ".tif")
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.lower().endswith(endings):
                    data = tar.extractfile(member)
                    assert data is not None
                    yield member.name.rpartition(".")[0], data.read()


def sharp_photos(count: int, long_side: int = 0, short_side: int = 0, folder: Path | None = None) -> dict[str, bytes]:
    """Returns the first photographs that are not labelled blurry, by name as bytes of files.

    Args:
        count: maximum number of photographs.
        long_side: minimum of the long side in pixels.
        short_side: minimum of the short side in pixels.
        folder: folder of the corpus; None for the larger corpus if it exists, else the sample.
    """
    folder = folder or (CORPUS if CORPUS.is_dir() else sample_folder())
    blurry, kind, photos = read_labels(folder / "labels.csv")["is_blurry"], kinds(folder), {}
    for name, data in files(folder):
        if kind.get(name) not in PHOTOS or blurry.get(name) == "1":
            continue
        try:
            sides = probe(data).width, probe(data).height
        except ImageError:
            continue
        if max(sides) >= long_side and min(sides) >= short_side:
            photos[name] = data
        if len(photos) == count:
            break
    return photos


def auc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Returns the chance that a value of the first exceeds one of the second (Mann and Whitney); ties count half."""
    below = np.sort(negative)
    least, most = (np.searchsorted(below, positive, side) for side in ("left", "right"))
    return float((least + most).mean()) / 2 / len(below)


def group_leaders(labels: Labels) -> dict[str, str]:
    """Returns one picture of its group for each picture that is labelled as a copy, near copy or blurred twin.

    A group holds all pictures that any chain of such labels connects.
    """
    leader: dict[str, str] = {}

    def find(name: str) -> str:
        while leader.setdefault(name, name) != name:
            name = leader[name]
        return name

    for field in ("near_dup_group", "exact_dup_group", "blur_pair"):
        first: dict[str, str] = {}
        for name, group in labels[field].items():
            leader[find(name)] = find(first.setdefault(group, name))
    return {name: find(name) for name in leader}
