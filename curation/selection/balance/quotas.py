"""The balance of a selection: how many of each group of images are kept. The best of each group stay.

A group is a value of an expression, or a cluster of embeddings. Rows that have none (NULL, an empty text, no embedding)
are a group of their own, named "". The rules are those of `select.balance`:

- at_most: a cap for every group.
- total and power: a group of n images gets a share of the total that grows with n ** power, as in the sampling of
  languages for multilingual models (Conneau & Lample 2019, section 3.1): 1 leaves the set as it is, 0 makes all groups
  equal. A group that has less gives all it has, and the others share what it leaves.
- total and shares: a group gets the share given for its name, or all it has where that is less, so that the set is then
  smaller than the total. What the shares leave of the whole goes to the groups that are not named, by power (1 where it
  is not given): shares that add up to 1 drop them.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.errors import UserError, nearest
from curation.recipe.sections import Balance
from curation.scoring.cascade import NO_GROUP

Counts = NDArray[np.int64]


@dataclass
class Balanced:
    """What the balance makes of the rows that are no duplicates, sorted by file and row."""

    files: np.ndarray
    """int32 (n,): number of the wide file."""
    rows: np.ndarray
    """int64 (n,): row within it."""
    groups: np.ndarray
    """int32 (n,): index in `names`."""
    away: np.ndarray
    """bool (n,): whether the row is balanced away."""
    names: list[str]
    """The groups: values in the order of their text, or clusters by number."""
    waiting: int = 0
    """Rows whose group or rank is not known yet; as long as there are such, nothing is balanced."""

    @classmethod
    def none(cls, waiting: int = 0) -> "Balanced":
        """Nothing is balanced."""
        empty = np.empty(0, np.int64)
        return cls(empty, empty, empty, empty.astype(bool), [], waiting)

    @classmethod
    def find(cls, places: pa.Table, groups: pa.Array | pa.ChunkedArray, rules: Balance) -> "Balanced":
        """Finds what stays.

        Args:
            places: columns `file` and `row`, best first.
            groups: the name of each row's group; text, or a number where the groups are clusters; null has none.
            rules: the recipe's.

        """
        numbers, names = _numbered(groups)
        sizes = np.bincount(numbers, minlength=len(names)).astype(np.int64)
        away = beyond(numbers, quotas(names, sizes, rules))
        files, rows = places["file"].to_numpy(), places["row"].to_numpy()
        order = np.lexsort((rows, files))
        return cls(files[order], rows[order], numbers[order], away[order], names)

    @property
    def count(self) -> int:
        """Rows balanced away."""
        return int(np.count_nonzero(self.away))

    @property
    def before(self) -> Counts:
        """Rows of each group."""
        return np.bincount(self.groups, minlength=len(self.names)).astype(np.int64)

    @property
    def after(self) -> Counts:
        """Rows of each group that stay."""
        return np.bincount(self.groups[~self.away], minlength=len(self.names)).astype(np.int64)

    def check(self, rules: Balance) -> None:
        """Raises UserError if `shares` names a group that no row is of: a name may be misspelt."""
        missing = next((name for name in rules.shares or {} if name not in self.names), None)
        if missing is not None and self.names:
            hint = nearest(missing, self.names)
            raise UserError(f'no image that passes is of the group "{missing}"{hint}', "select.balance.shares")

    def notes(self, rules: Balance) -> list[str]:
        """What the user might not expect, a line each: rows without a group, and groups that have less than asked."""
        before = self.before
        found = []
        if NO_GROUP in self.names:
            what = "no embedding" if rules.clusters else "no value"
            found.append(f"balance: {before[0]:,} images have {what} and are a group of their own")
        short = [
            f'"{name}" {size:,} of {asked:,}'
            for name, size in zip(self.names, before.tolist(), strict=True)
            if (asked := round((rules.shares or {}).get(name, 0) * (rules.total or 0))) > size
        ]
        if short:
            more = f" and {len(short) - 5} more" if len(short) > 5 else ""
            found.append(f"balance: groups that have less than their share: {', '.join(short[:5])}{more}")
        return found

    def of_file(self, number: int) -> list[tuple[int, str, bool]]:
        """Row, group, and whether it is balanced away, of each row in one file."""
        first, last = np.searchsorted(self.files, [number, number + 1])
        names = [self.names[group] for group in self.groups[first:last]]
        return list(zip(self.rows[first:last].tolist(), names, self.away[first:last].tolist(), strict=True))


def described(rules: Balance) -> str:
    """The rules in a few words."""
    groups = f"by {' '.join(rules.by.split())}" if rules.by else f"{rules.clusters or 0:,} clusters of embeddings"
    if rules.at_most is not None:
        return f"{groups}: at most {rules.at_most:,} of each"
    shares = [f"{share:.3g} {name or '(none)'}" for name, share in (rules.shares or {}).items()]
    power = [f"in proportion to size ** {rules.power:g}"] if rules.power is not None else []
    return f"{groups}: {rules.total or 0:,} in all, {', '.join(shares + power)}"


def beyond(groups: NDArray[np.int32], most: Counts) -> NDArray[np.bool_]:
    """Whether a row has as many others of its group before it as may stay.

    Args:
        groups: int32 (n,), best first.
        most: int64, how many of each group may stay.
    """
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    place = np.arange(len(groups)) - np.searchsorted(ordered, ordered)
    away = np.empty(len(groups), bool)
    away[order] = place >= most[ordered]
    return away


def quotas(names: list[str], sizes: Counts, rules: Balance) -> Counts:
    """How many of each group stay: int64 (groups,), never more than there are."""
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
    """Shares of a total in proportion to sizes ** power, but none larger than its size (water-filling).

    Args:
        sizes: int64 (groups,), at least 1 each.
        total: what the shares add up to, if there are so many.
        power: 0 (equal) to 1 (in proportion).

    Returns:
        int64 (groups,).
    """
    if total >= sizes.sum():
        return sizes.copy()
    weights = sizes.astype(np.float64) ** power
    order = np.argsort(sizes, kind="stable")  # as the level rises, the small ones are exhausted first
    before = np.concatenate([[0], np.cumsum(sizes[order])[:-1]])
    height = (total - before) / np.cumsum(weights[order][::-1])[::-1]
    first = int(np.argmax(height * weights[order] < sizes[order]))  # there is one: the total is less than all
    return whole(np.minimum(sizes, height[first] * weights), total)


def whole(shares: NDArray[np.float64], total: int) -> Counts:
    """Whole numbers that add up to a total, each next to its share: the largest remainders are rounded up.

    Args:
        shares: float64 (groups,), which add up to about the total.
        total: a whole number.
    """
    floor = np.floor(shares).astype(np.int64)
    up = np.argsort(floor - shares, kind="stable")[: max(0, total - int(floor.sum()))]
    floor[up] += 1
    return floor


def _numbered(groups: pa.Array | pa.ChunkedArray) -> tuple[NDArray[np.int32], list[str]]:
    """Each row's group as a number, and the names of the numbers."""
    whole_column = groups.combine_chunks() if isinstance(groups, pa.ChunkedArray) else groups
    encoded = pc.fill_null(whole_column, NO_GROUP if pa.types.is_string(whole_column.type) else -1).dictionary_encode()
    values = encoded.dictionary.to_pylist()
    order = sorted(range(len(values)), key=values.__getitem__)
    place = np.empty(len(values), np.int32)
    place[order] = np.arange(len(values))
    names = [NO_GROUP if values[n] == -1 else str(values[n]) for n in order]
    return place[encoded.indices.to_numpy()], names
