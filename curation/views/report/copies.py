"""The report's section on duplicates: each kept image beside some of its copies."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.keys import key_hash
from curation.selection.dedup.duplicates import KINDS
from curation.views.report.fates import SALT, Fates
from curation.views.report.pictures import Gallery, ShownPicture

GROUPS = {"near": 12, "similar": 12, "exact": 4, "listed": 6}
"""Number of groups shown, by kind of duplicate."""
COPIES = 4
"""Number of copies shown in one group."""


@dataclass
class DuplicateGroup:
    """One image and its copies."""

    kind: str
    original: ShownPicture
    copies: list[ShownPicture]
    total: int
    """Number of all copies of the image."""


@dataclass
class Kind:
    """Some of the groups of one kind of duplicate."""

    name: str
    copies: int
    """Number of duplicates of this kind."""
    groups: list[DuplicateGroup]
    total: int
    """Number of all groups of this kind."""


def kinds_of_copies(fates: Fates, gallery: Gallery) -> list[Kind]:
    """Returns the kinds of duplicate that occur, in the order of `GROUPS`."""
    duplicates = fates.selection.duplicates
    indices = fates.starts[duplicates.files.astype(np.int64)] + duplicates.rows.astype(np.int64)
    kinds = []
    for name, count in GROUPS.items():
        chosen = (duplicates.kinds == KINDS.index(name)) & (fates.numbers[indices] > fates.waiting)
        total = int(np.count_nonzero(chosen))
        if total:
            originals, cosines = duplicates.originals.filter(chosen), duplicates.cosines[chosen]
            groups, groups_in_all = _groups(fates, gallery, name, indices[chosen], originals, cosines, count)
            kinds.append(Kind(name, total, groups, groups_in_all))
    return kinds


def _groups(
    fates: Fates,
    gallery: Gallery,
    kind: str,
    indices: np.ndarray,
    originals: pa.Array,
    cosines: np.ndarray,
    count: int,
) -> tuple[list[DuplicateGroup], int]:
    whole = originals.combine_chunks() if isinstance(originals, pa.ChunkedArray) else originals
    coded = pc.dictionary_encode(whole)
    names, codes = coded.dictionary.to_pylist(), coded.indices.to_numpy()
    order = sorted(range(len(names)), key=lambda n: (key_hash(names[n], SALT), names[n]))[:count]
    groups = []
    for code in order:
        chosen = np.flatnonzero(codes == code)
        chosen = chosen[np.argsort(fates.hashes[indices[chosen]], kind="stable")]
        members = indices[chosen]
        original = gallery.picture(fates.find(names[code]), note="kept" if kind != "listed" else "on the list")
        original.key = names[code]
        copies = [gallery.picture(int(index), note=kind) for index in members[:COPIES]]
        if kind == "near":
            for copy, bits in zip(copies, _distances(fates, original, copies), strict=True):
                copy.note = f"{bits} of 64 bits differ" if bits is not None else kind
        if kind == "similar":
            for copy, cosine in zip(copies, cosines[chosen], strict=False):
                copy.note = f"cosine {cosine:.3f}"
        groups.append(DuplicateGroup(kind, original, copies, len(members)))
    return groups, len(names)


def _distances(fates: Fates, original: ShownPicture, copies: list[ShownPicture]) -> Iterator[int | None]:
    """Yields the Hamming distance of each copy's perceptual hash to the original's; None where a hash is missing."""
    hash_ = _phash(fates, original.index)
    for copy in copies:
        other = _phash(fates, copy.index)
        yield None if hash_ is None or other is None else (hash_ ^ other).bit_count()


def _phash(fates: Fates, index: int | None) -> int | None:
    if index is None:
        return None
    shard, row = fates.place(index)
    return pq.read_table(fates.selection.files[shard], columns=["phash"])["phash"][row].as_py()
