"""Tables that users give, such as votes, scores and block lists: CSV as spreadsheets write it, or Parquet."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation.errors import UserError, in_one_line, nearest


@dataclass(frozen=True)
class UserTable:
    """A table that was read, and where its rows stand in the file."""

    name: str
    """How errors name the file."""
    found: list[str]
    """The names of all columns of the file, also of those that were not asked for."""
    table: pa.Table
    """The columns that were asked for and are there. From CSV all values are text, "" where a value is empty."""
    lines: Sequence[int] | None = None
    """The line on which each row of a CSV file begins, counted from 1; None for Parquet."""
    key: str = ""
    """The recipe's dotted key that names the file, for errors; "" where an argument names it."""

    def place(self, row: int) -> str:
        """The file and the row (counted from 0) in words, as an error begins."""
        return f"{self.name}: " + (f"row {row + 1}" if self.lines is None else f"line {self.lines[row]}")

    def rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each row, after its place in words."""
        for number, row in enumerate(self.table.to_pylist()):
            yield self.place(number), row


def read_user_table(
    file: str | Path, required: Sequence[str] = (), optional: Sequence[str] = (), key: str = ""
) -> UserTable:
    """Reads Parquet if the file's name ends in `.parquet`, and else CSV in UTF-8, whose first line names the columns.

    Values are not converted: what a value must be, its reader knows best, and says with `UserTable.place`.

    Args:
        required: columns that must be there.
        optional: columns that are read if they are there. All others are ignored.
        key: the recipe's dotted key that names the file; "" where an argument names it.

    Raises:
        UserError: there is no such file, it cannot be read, a required column is missing, one that is read stands
            twice, or a line of a CSV file has more or fewer values than its first.
    """
    name, wanted = str(file), [*required, *optional]
    read = _read_parquet if name.endswith(".parquet") else _read_csv
    try:
        return replace(read(name, required, wanted), key=key)
    except FileNotFoundError:
        raise UserError(f"{name}: no such file", key) from None
    except UnicodeDecodeError:
        raise UserError(f"{name}: is not in UTF-8; save it as CSV in UTF-8", key) from None
    except (OSError, csv.Error, pa.ArrowException) as error:
        raise UserError(f"{name}: cannot be read: {in_one_line(error)}", key) from None
    except UserError as error:
        raise UserError(error.detail, key) from None


def _read_parquet(file: str, required: Sequence[str], wanted: Sequence[str]) -> UserTable:
    import pyarrow.dataset as pads  # here, as it brings pandas with it, for which every verb would wait

    # Not pq.read_table, which takes folders called `a=b` above the file for columns.
    dataset = pads.dataset(file, format="parquet", partitioning=None)
    found = dataset.schema.names
    return UserTable(file, found, dataset.to_table(columns=_present(file, found, required, wanted)))


def _read_csv(file: str, required: Sequence[str], wanted: Sequence[str]) -> UserTable:
    with open(file, newline="", encoding="utf-8-sig") as text:  # spreadsheets write a byte-order mark
        reader = csv.reader(text, strict=True)
        found = [column.strip() for column in next(reader, [])]
        present = _present(file, found, required, wanted)
        places = [found.index(column) for column in present]
        columns: list[list[str]] = [[] for _ in present]
        lines, line = [], reader.line_num + 1
        for values in reader:
            if values:
                if len(values) != len(found):
                    head = f"where the head names {len(found)} columns"
                    raise UserError(f"{file}: line {line}: {len(values)} values, {head}")
                lines.append(line)
                for column, place in zip(columns, places, strict=True):
                    column.append(values[place])
            line = reader.line_num + 1  # a value in quotes may hold line breaks
    arrays = [pa.array(column, pa.string()) for column in columns]
    return UserTable(file, found, pa.table(arrays, names=present), lines)


def _present(name: str, found: Sequence[str], required: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Those of the wanted columns that are there. Raises UserError for a missing one, and one that stands twice."""
    for column in wanted:
        if found.count(column) > 1:
            raise UserError(f'{name}: the column "{column}" stands twice')
        if column in required and column not in found:
            raise UserError(f'{name}: the column "{column}" is missing{nearest(column, found)}')
    return [column for column in wanted if column in found]
