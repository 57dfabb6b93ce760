"""Which caption and which JSON belongs to which image of a shard, told by the names of its members.

Rules (https://github.com/webdataset/webdataset: a sample is what has one name up to the first dot; people write more):
an image's name without its last ending is its stem. A text of the same stem is the image's own; else the texts of its
sample are.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from curation.errors import RowError
from curation.keys import well_formed

CAPTION_ENDINGS = ("txt", "caption", "cap")
"""Endings of the files that hold a caption; where an image has several, the first of these counts."""


@dataclass(slots=True)
class Side:
    """A caption or JSON file beside images: its name, and its bytes or the error on reading them."""

    name: str
    data: bytes
    error: RowError | None = None

    @property
    def kind(self) -> str:
        """`caption` or `json`."""
        return "caption" if ending(self.name) in CAPTION_ENDINGS else "json"


def is_side(name: str) -> bool:
    """Returns whether a member holds a caption or JSON, as its ending says."""
    return ending(name) in CAPTION_ENDINGS or ending(name) == "json"


def clean(name: str) -> str:
    """Returns a member's name as its key has it: no `./`, no doubled slash; a byte that is not UTF-8 as `\\xb6`."""
    name = "/".join(part for part in name.split("/") if part not in ("", "."))
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half a surrogate pair that stands for no byte
        return well_formed(name)


def ending(name: str) -> str:
    """Returns what follows the last dot of the name, in lower case: `jpg` of `a.seg.JPG`; empty if there is none."""
    base = name.rpartition("/")[2]
    return base.rpartition(".")[2].lower() if "." in base else ""


def stem(name: str) -> str:
    """Returns the name without its last ending: `f/a.seg` of `f/a.seg.jpg`."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + (base.rpartition(".")[0] or base)


def sample(name: str) -> str:
    """Returns the name of the member's WebDataset sample, up to the first dot of the base: `f/a` of `f/a.seg.jpg`."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def member_names(images: Sequence[str]) -> list[str]:
    """Returns the MEMBER part of the keys of a shard's images, given their names in order.

    It is the name of the sample where the sample has one image, else the stem; and the whole name where an image of
    another ending has the stem already. A name that is there twice gives the same member twice.
    """
    stems: defaultdict[str, set[str]] = defaultdict(set)
    first: dict[str, str] = {}
    for name in images:
        stems[sample(name)].add(stem(name))
        first.setdefault(stem(name), name)
    return [
        name if first[stem(name)] != name else stem(name) if len(stems[sample(name)]) > 1 else sample(name)
        for name in images
    ]


def sides_of(images: Sequence[str], sides: Iterable[Side]) -> list[list[Side]]:
    """Returns, for each image, the texts that belong to it: at most one caption and one JSON.

    A text of the image's whole name (`a.jpg.txt`) comes first, then one of its stem, then one that has just the name of
    its sample, then any of the sample. The last is taken only where no image of the sample has a text of its own: where
    they have, texts go by stems, and one whose image is missing is nobody's.
    """
    by_stem: defaultdict[tuple[str, str], list[Side]] = defaultdict(list)
    by_sample: defaultdict[tuple[str, str], list[Side]] = defaultdict(list)
    stems = {stem(name) for name in images} | set(images)
    for side in sides:
        by_stem[stem(side.name), side.kind].append(side)
        if stem(side.name) not in stems:
            by_sample[sample(side.name), side.kind].append(side)
    own = {
        (sample(name), kind)
        for name in images
        for kind in ("caption", "json")
        if (name, kind) in by_stem or (stem(name), kind) in by_stem
    }

    def of(name: str, kind: str) -> Side | None:
        group = sample(name)
        texts = by_stem.get((name, kind)) or by_stem.get((stem(name), kind)) or by_stem.get((group, kind))
        if not texts and (group, kind) not in own:
            texts = by_sample.get((group, kind))
        return min(texts, key=lambda side: _RANK.get(ending(side.name), 0)) if texts else None

    return [[text for kind in ("caption", "json") if (text := of(name, kind))] for name in images]


_RANK = {name: rank for rank, name in enumerate(CAPTION_ENDINGS)}
