"""Finds similar embeddings (see `cosine.py`) among too many rows to compare each with every kept one.

Evenly spaced rows are the centres of inverted lists; each row is put into the lists of its nearest centres, and is
compared with the kept rows in those lists. Rows that are compared are decided exactly; a pair that shares no list is
missed, which is rarer the closer the pair is. Lists are chosen in integers, so that they too are the same for any
number of threads. Centres by k-means were measured to find as many pairs with two thirds of the lists a row, but
computing them takes more products than that saves.

Compared with faiss 1.15 on one thread, 1,000,000 x 768 (`python -m tests.benchmarks.cosine`): ours takes 178 CPU s and
2.7 GB, and finds 0.9994 of the copies; the range_search of its IndexIVFFlat, as many lists, 64 of them looked into,
takes 2,900 s and 5.9 GB for 0.9975. In a trial with the reduced vectors of `cosine.py` in place of the vectors it took
163 s for 0.9981, but its lists are chosen in float32, whose products depend on what is multiplied at once.
"""

import time
from collections.abc import Iterator
from functools import partial
from math import isqrt
from typing import TYPE_CHECKING

import numpy as np

from curation.selection.dedup.arrays import Index
from curation.selection.dedup.cosine import Cosine, Points

if TYPE_CHECKING:
    import torch


CELLS_OF = 8
"""Number of inverted lists into which a row is put."""
BLOCK = 1 << 15
"""Number of rows that are put into lists at once; these are all compared with each other."""
CHECKED = 2000
"""Number of rows that are checked against every kept row, to estimate how many duplicates were missed."""
_STEP = 4096
_UNEVEN = 3.0  # how many more pairs uneven cells have than even ones, and
_CALL = 2e-4  # seconds for looking at one cell, whatever is in it (both measured, for the estimate only)
_LENGTH = 2000
"""Length of a direction in integers: products of two are below 2^24, so that float32 adds them without rounding."""


class InvertedLists:
    """The inverted lists of some rows.

    Args:
        cosine: the comparison that will be used within the lists.
        points: the embeddings.
        rows: int64 (n,), indices of the rows to be compared.
    """

    def __init__(self, cosine: Cosine, points: Points, rows: Index) -> None:
        import torch

        self.cosine, self.points = cosine, points
        self.count = min(len(rows), 4 * isqrt(len(rows)))
        centres = rows[np.linspace(0, len(rows) - 1, self.count).astype(np.int64)]
        mean = torch.from_numpy(points.vectors[centres]).double().mean(0)
        self._mean = torch.round(mean * 2**24) / 2**24  # so that what is left of a row is a whole multiple of 2^-24 too
        self._centres = self._whole(centres)

    def of(self, rows: Index) -> tuple[Index, Index]:
        """Finds the inverted lists of some rows.

        Returns:
            two int64 arrays, one entry for each row and list, row by row: position in `rows`, and number of the list.
            If several centres are equally near, all of their lists count.
        """
        starts = range(0, len(rows), _STEP)
        parts = self.cosine.in_parallel(lambda start: self._nearest(rows[start : start + _STEP]), starts)
        at = [start + row for start, (row, _) in zip(starts, parts, strict=True)]
        return np.concatenate(at), np.concatenate([cell for _, cell in parts])

    def _nearest(self, rows: Index) -> tuple[Index, Index]:
        import torch

        near = self._whole(rows) @ self._centres.T
        least = near.topk(min(CELLS_OF, self.count), dim=1).values[:, -1:]
        row, cell = torch.nonzero(near >= least, as_tuple=True)
        return row.cpu().numpy(), cell.cpu().numpy()

    def _whole(self, rows: Index) -> "torch.Tensor":
        """Returns the directions of rows from the mean, as integers: float32 (m, width)."""
        import torch

        away = torch.from_numpy(self.points.vectors[rows]).double() - self._mean
        lengths = away.square().sum(1, keepdim=True).sqrt().clamp(min=1e-9)
        return torch.round(away / lengths * _LENGTH).float().to(self.points.device)


def group(cosine: Cosine, points: Points, rows: Index, cells: InvertedLists) -> Index:
    """Groups near-duplicates as `Cosine.group` does, but compares a row only with its block and lists: int64 (n,)."""
    result = np.full(len(rows), -1, np.int64)
    lists = [np.empty(0, np.int64)] * cells.count
    for start in range(0, len(rows), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(rows)))
        at, cell = cells.of(rows[block])
        best = np.full(len(block), len(rows), np.int64)
        jobs = [
            (lists[c], part) for c, members in _by_cell(at, cell) if len(lists[c]) for part in cosine.tiles(members)
        ]
        look = partial(_first_in, cosine, points, rows, block)
        for (kept, members), first in zip(jobs, cosine.in_parallel(look, jobs), strict=True):
            hit = members[first >= 0]
            best[hit] = np.minimum(best[hit], kept[first[first >= 0]])
        result[block] = np.where(best < len(rows), best, -1)
        left = block[result[block] < 0]
        among = cosine.group(points, rows[left])
        result[left] = np.where(among < 0, -1, left[among])
        new = result[block[at]] < 0
        for c, members in _by_cell(at[new], cell[new]):
            lists[c] = np.concatenate([lists[c], block[members]])
    return result


def _first_in(cosine: Cosine, points: Points, rows: Index, block: Index, job: tuple[Index, Index]) -> Index:
    kept, members = job
    return cosine.first_of_few(points, rows[kept], points, rows[block[members]])


def seconds(cosine: Cosine, points: Points, rows: Index, cells: InvertedLists) -> float:
    """Estimates, from a timed part of it, the seconds that `group` takes on this machine."""
    began = time.perf_counter()
    cells.of(rows[:_STEP])
    placing = (time.perf_counter() - began) * len(rows) / min(len(rows), _STEP) / cosine.threads
    pairs = len(rows) * (BLOCK + _UNEVEN * CELLS_OF**2 / cells.count * len(rows)) / 2
    calls = len(rows) / BLOCK * cells.count / cosine.threads
    return placing + pairs * cosine.seconds(points, rows) + calls * _CALL


def missed(cosine: Cosine, points: Points, rows: Index, result: Index) -> tuple[int, int, int]:
    """Checks some rows, evenly spaced, against every kept row.

    Args:
        cosine: the comparison.
        points: the embeddings.
        rows: int64 (n,), the rows given to `group`.
        result: int64 (n,), the result of `group`.

    Returns:
        the number of rows checked, the number of duplicates among them that `group` found, and the number it missed.
    """
    kept = np.flatnonzero(result < 0)
    some = np.linspace(0, len(rows) - 1, min(len(rows), CHECKED)).astype(np.int64)
    alone = some[result[some] < 0]
    first = cosine.first(points, rows[kept], points, rows[alone])  # a row with an embedding is similar to itself
    return len(some), len(some) - len(alone), int(np.count_nonzero((first >= 0) & (kept[first] < alone)))


def _by_cell(at: Index, cell: Index) -> Iterator[tuple[int, Index]]:
    """Yields each inverted list with the rows in it, in order."""
    order = np.argsort(cell, kind="stable")
    cells, starts = np.unique(cell[order], return_index=True)
    yield from zip(cells.tolist(), np.split(at[order], starts)[1:], strict=True)
