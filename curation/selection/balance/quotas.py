"""Computes how many images of each group a balanced selection keeps; the best images of each group stay.

A group is a value of an expression, or a cluster of embeddings. Rows without a value (NULL, an empty text, no
embedding) are a group of their own, named "". The rules are those of `select.balance`:
- at_most: every group is capped at this number of images.
- total and power: a group of n images gets a share of the total proportional to n ** power, as in the sampling of
languages for multilingual models (Conneau & Lample 2019, section 3.1): 1 leaves the proportions unchanged, 0 makes all
groups equal. A group that is smaller than its share keeps all its images, and the others divide the rest.
- total and shares: a group gets the share given for its name, or all its images if these are fewer, so that the set is
then smaller than the total. What the shares leave of the whole goes to the groups without a share, by power (1 if none
is given): shares that add up to 1 drop these groups.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.counts import counted
from curation.errors import UserError, nearest
from curation.recipe.sections import Balance
from curation.scoring.cascade import NO_GROUP

Counts = NDArray[np.int64]
"""Numbers of rows, by group: int64 (groups,)."""


@dataclass
class Balanced:
    """The result of balancing the rows that are no duplicates, sorted by file and row."""

    files: np.ndarray
    """int32 (n,): number of the wide file."""
    rows: np.ndarray
    """int64 (n,): row within the file."""
    groups: np.ndarray
    """int32 (n,): index in `names`."""
    away: np.ndarray
    """bool (n,): whether balancing removes the row."""
    names: list[str]
    """Names of the groups: values in the order of their text, or clusters by number."""
    waiting: int = 0
    """Number of rows whose group or rank is not known yet; nothing is balanced until it is 0."""

    @classmethod
    def none(cls, waiting: int = 0) -> "Balanced":
        """Returns a result in which nothing is balanced."""
        empty = np.empty(0, np.int64)
        return cls(empty, empty, empty, empty.astype(bool), [], waiting)

    @classmethod
    def find(cls, places: pa.Table, groups: pa.Array | pa.ChunkedArray, rules: Balance) -> "Balanced":
        """Decides which rows stay.

        Args:
            places: columns `file` and `row`, best first.
            groups: the name of each row's group: text, or a number if the groups are clusters; null for a row without a
                group.
            rules: the rules of the recipe.
        """
        numbers, names = _numbered(groups)
        sizes = np.bincount(numbers, minlength=len(names)).astype(np.int64)
        away = beyond(numbers, quotas(names, sizes, rules))
        files, rows = places["file"].to_numpy(), places["row"].to_numpy()
        order = np.lexsort((rows, files))
        return cls(files[order], rows[order], numbers[order], away[order], names)

    @property
    def count(self) -> int:
        """Number of rows that balancing removes."""
        return int(np.count_nonzero(self.away))

    @property
    def before(self) -> Counts:
        """Number of rows of each group before balancing: int64 (groups,)."""
        return np.bincount(self.groups, minlength=len(self.names)).astype(np.int64)

    @property
    def after(self) -> Counts:
        """Number of rows of each group that stay: int64 (groups,)."""
        return np.bincount(self.groups[~self.away], minlength=len(self.names)).astype(np.int64)

    def check(self, rules: Balance) -> None:
        """Checks that every group named by `shares` has a row, since a name may be misspelt.

        Raises:
            UserError: `shares` names a group without rows.
        """
        missing = next((name for name in rules.shares or {} if name not in self.names), None)
        if missing is not None and self.names:
            hint = nearest(missing, self.names)
            raise UserError(f'no image that passes is of the group "{missing}"{hint}', "select.balance.shares")

    def notes(self, rules: Balance) -> list[str]:
        """Returns notices for the user: rows without a group, and groups that are smaller than the share asked for."""
        before = self.before
        notices = []
        if NO_GROUP in self.names:
            missing = "no embedding" if rules.clusters else "no value"
            notices.append(f"balance: {counted(int(before[0]), 'images')} with {missing}, a group of their own")
        short = [
            f'"{name}" {size:,} of {asked:,}'
            for name, size in zip(self.names, before.tolist(), strict=True)
            if (asked := round((rules.shares or {}).get(name, 0) * (rules.total or 0))) > size
        ]
        if short:
            more = f" and {len(short) - 5} more" if len(short) > 5 else ""
            notices.append(f"balance: groups that have less than their share: {', '.join(short[:5])}{more}")
        return notices

    def of_file(self, number: int) -> list[tuple[int, str, bool]]:
        """Returns, for each row of one file, its number, the name of its group, and whether balancing removes it."""
        first, last = np.searchsorted(self.files, [number, number + 1])
        names = [self.names[group] for group in self.groups[first:last]]
        return list(zip(self.rows[first:last].tolist(), names, self.away[first:last].tolist(), strict=True))


def described(rules: Balance) -> str:
    """Describes the rules in a few words."""
    groups = (
        f"by {' '.join(rules.by.split())}" if rules.by else f"{counted(rules.clusters or 0, 'clusters')} of embeddings"
    )
    if rules.at_most is not None:
        return f"{groups}: at most {rules.at_most:,} of each"
    shares = [f"{share:.3g} {name or '(none)'}" for name, share in (rules.shares or {}).items()]
    power = [f"in proportion to size ** {rules.power:g}"] if rules.power is not None else []
    return f"{groups}: {rules.total or 0:,} in all, {', '.join(shares + power)}"


def beyond(groups: NDArray[np.int32], most: Counts) -> NDArray[np.bool_]:
    """Returns whether a row is beyond the quota of its group: bool (n,).

    Args:
        groups: int32 (n,), group of each row, best rows first.
        most: int64 (groups,), the quota of each group.
    """
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    place = np.arange(len(groups)) - np.searchsorted(ordered, ordered)
    away = np.empty(len(groups), bool)
    away[order] = place >= most[ordered]
    return away


def quotas(names: list[str], sizes: Counts, rules: Balance) -> Counts:
    """Returns how many rows of each group stay: int64 (groups,), never more than the group has."""
    if rules.at_most is not None:
        return np.minimum(sizes, rules.at_most)
    total = int(rules.total or 0)
    if rules.shares is None:
        return level(sizes, total, 1.0 if rules.power is None else rules.power)
    named = np.array([name in rules.shares for name in names], bool)
    wished = np.array([rules.shares.get(name, 0.0) for name in names]) * total
    asked = whole(wished, round(float(wished.sum())))
    stay = np.minimum(sizes, asked)
    stay[~named] = level(sizes[~named], total - int(asked.sum()), 1.0 if rules.power is None else rules.power)
    return stay


def level(sizes: Counts, total: int, power: float) -> Counts:
    """Divides a total into shares proportional to sizes ** power, none larger than its size (water-filling).

    Args:
        sizes: int64 (groups,), at least 1 each.
        total: the sum of the shares; if the sizes add up to less, each share is its size.
        power: 0 (equal shares) to 1 (proportional shares).

    Returns:
        int64 (groups,).
    """
    if total >= sizes.sum():
        return sizes.copy()
    weights = sizes.astype(np.float64) ** power
    order = np.argsort(sizes, kind="stable")  # as the level rises, small groups are used up first
    before = np.concatenate([[0], np.cumsum(sizes[order])[:-1]])
    height = (total - before) / np.cumsum(weights[order][::-1])[::-1]
    first = int(np.argmax(height * weights[order] < sizes[order]))  # exists: the total is less than the sum
    return whole(np.minimum(sizes, height[first] * weights), total)


def whole(shares: NDArray[np.float64], total: int) -> Counts:
    """Rounds shares to integers that add up to a total, by the method of the largest remainder.

    Args:
        shares: float64 (groups,), which add up to about the total.
        total: the sum of the result.

    Returns:
        int64 (groups,).
    """
    floor = np.floor(shares).astype(np.int64)
    up = np.argsort(floor - shares, kind="stable")[: max(0, total - int(floor.sum()))]
    floor[up] += 1
    return floor


def _numbered(groups: pa.Array | pa.ChunkedArray) -> tuple[NDArray[np.int32], list[str]]:
    """Returns each row's group as a number, int32 (n,), and the names of the groups by number."""
    whole_column = groups.combine_chunks() if isinstance(groups, pa.ChunkedArray) else groups
    encoded = pc.fill_null(whole_column, NO_GROUP if pa.types.is_string(whole_column.type) else -1).dictionary_encode()
    values = encoded.dictionary.to_pylist()
    order = sorted(range(len(values)), key=values.__getitem__)
    place = np.empty(len(values), np.int32)
    place[order] = np.arange(len(values))
    names = [NO_GROUP if values[n] == -1 else str(values[n]) for n in order]
    return place[encoded.indices.to_numpy()], names
