"""Reads the workspace's votes in the order of their keys, some at a time."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.annotation.levels import read_votes
from curation.errors import StageError, in_one_line
from curation.workspace import Workspace
from curation.workspace.files import GIVEN, footer
from curation.workspace.schemas import VOTES

AT_ONCE = 100_000
"""Number of votes that are read at once."""
IN_ORDER = {"ordered_by": "key"}
"""The note in the footer of a file whose votes are in the order of the keys' bytes."""


class OrderedVotes:
    """The votes on file, which are taken out in the order of their keys, those of a key together.

    A file without the note of its order, as an import leaves it, is read and sorted as a whole.

    Args:
        workspace: the workspace; without votes there is nothing to take out.

    Raises:
        StageError: the file is damaged; also when votes are taken out.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._parts = _parts(workspace)
        self._waiting = VOTES.empty_table()

    def through(self, key: str) -> pa.Table:
        """Takes out the votes up to a key, which is included."""
        while self._fill() and self._last() <= key:
            if (part := next(self._parts, None)) is None:
                break
            self._waiting = pa.concat_tables([self._waiting, part])
        end = _place_after(self._waiting["key"], key)
        taken, self._waiting = self._waiting.slice(0, end), self._waiting.slice(end)
        return taken

    def before(self, key: str | None) -> Iterator[pa.Table]:
        """Takes out votes on earlier keys, as long as there are many, in parts; None takes out all that are left."""
        while self._fill() and (key is None or self._last() < key):
            yield self.through(self._last())

    def _fill(self) -> bool:
        """Reads on if nothing is waiting; returns whether there is anything then."""
        while not len(self._waiting) and (part := next(self._parts, None)) is not None:
            self._waiting = part
        return len(self._waiting) > 0

    def _last(self) -> str:
        return str(self._waiting["key"][-1].as_py())


def _parts(workspace: Workspace) -> Iterator[pa.Table]:
    path = workspace.votes
    if not path.exists():
        return
    if not IN_ORDER.items() <= (footer(path) or {}).items():
        table = read_votes(workspace)
        table = table.take(pc.sort_indices(table, sort_keys=[("key", "ascending")]))
        yield from (table.slice(start, AT_ONCE) for start in range(0, len(table), AT_ONCE))
        return
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for batch in file.iter_batches(AT_ONCE):
                yield pa.Table.from_batches([batch]).select(VOTES.names).cast(VOTES)
    except (OSError, pa.ArrowException, KeyError) as error:
        detail = in_one_line(error, 120)
        raise StageError(f"{path} is damaged; {GIVEN} ({detail})") from None


def _place_after(keys: pa.ChunkedArray, key: str) -> int:
    """Returns the first place, of keys in order, whose key is greater."""
    low, high = 0, len(keys)
    while low < high:
        middle = (low + high) // 2
        if keys[middle].as_py() <= key:
            low = middle + 1
        else:
            high = middle
    return low
