"""Reads tables that users provide, such as votes, scores and block lists: Parquet, or CSV as spreadsheets write it."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation.counts import counted
from curation.errors import UserError, in_one_line, nearest


@dataclass(frozen=True)
class UserTable:
    """A table that was read, with the place of each row in the file."""

    name: str
    """The file's name in error messages."""
    found: list[str]
    """Names of all columns of the file, including those that were not requested."""
    table: pa.Table
    """The requested columns that the file has. Values from CSV are text; an empty value is ""."""
    lines: Sequence[int] | None = None
    """The line on which each row of a CSV file begins, counted from 1; None for Parquet."""
    key: str = ""
    """The recipe's dotted key that names the file, for error messages; "" if an argument names it."""

    def place(self, row: int) -> str:
        """Returns the file and a row (counted from 0) in words, with which an error message begins."""
        return f"{self.name}: " + (f"row {row + 1}" if self.lines is None else f"line {self.lines[row]}")

    def rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields each row with its place in words: (place, values by column)."""
        for number, row in enumerate(self.table.to_pylist()):
            yield self.place(number), row


def read_user_table(
    file: str | Path, required: Sequence[str] = (), optional: Sequence[str] = (), key: str = ""
) -> UserTable:
    """Reads a Parquet file, if the name ends in `.parquet`, or a CSV file in UTF-8 whose first line names the columns.

    Values are not converted: the caller checks them, and names the row of a wrong one by `UserTable.place`.

    Args:
        file: the file's path.
        required: columns that the file must have.
        optional: columns that are read if the file has them. All other columns are ignored.
        key: the recipe's dotted key that names the file; "" if an argument names it.

    Raises:
        UserError: there is no such file, it cannot be read, a required column is missing, a column that is read occurs
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


def cell_text(value: Any) -> str:
    """Returns a value as text without spaces around it; empty for null and NaN, `7` for 7.0, as pandas writes 7."""
    if value is None or value != value:
        return ""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()


def whole_number(where: str, column: str, value: Any, low: int, high: int) -> int:
    """Returns a value as a whole number; spreadsheets write 4.0 for 4 if a value of the column is empty.

    Args:
        where: the value's place, see `UserTable.place`.
        column: the value's column.
        value: the value, of whatever type the file has it in.
        low, high: the smallest and the largest number that is admitted.

    Raises:
        UserError: the value is anything else.
    """
    text = cell_text(value)
    try:
        number = float(text)
    except ValueError:
        number = low - 1.0
    if not (low <= number <= high and number.is_integer()):
        wanted = f"expected a whole number from {low} to {high}"
        raise UserError(f"{where}: {column}: {wanted}, found {text[:40]!r}")
    return int(number)


def _read_parquet(file: str, required: Sequence[str], wanted: Sequence[str]) -> UserTable:
    import pyarrow.dataset as pads  # here, as it brings pandas with it, for which every verb would wait

    # Not pq.read_table, which takes folders called `a=b` above the file for columns.
    dataset = pads.dataset(file, format="parquet", partitioning=None)
    names = dataset.schema.names
    return UserTable(file, names, dataset.to_table(columns=_present(file, names, required, wanted)))


def _read_csv(file: str, required: Sequence[str], wanted: Sequence[str]) -> UserTable:
    with open(file, newline="", encoding="utf-8-sig") as text:  # spreadsheets write a byte-order mark
        reader = csv.reader(text, strict=True)
        names = [column.strip() for column in next(reader, [])]
        present = _present(file, names, required, wanted)
        places = [names.index(column) for column in present]
        columns: list[list[str]] = [[] for _ in present]
        lines, line = [], reader.line_num + 1
        for values in reader:
            if values:
                if len(values) != len(names):
                    head = f"where the head names {counted(len(names), 'columns')}"
                    raise UserError(f"{file}: line {line}: {counted(len(values), 'values')}, {head}")
                lines.append(line)
                for column, place in zip(columns, places, strict=True):
                    column.append(values[place])
            line = reader.line_num + 1  # a value in quotes may hold line breaks
    arrays = [pa.array(column, pa.string()) for column in columns]
    return UserTable(file, names, pa.table(arrays, names=present), lines)


def _present(name: str, names: Sequence[str], required: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Returns the wanted columns that the file has. Raises UserError if one is missing or occurs twice."""
    for column in wanted:
        if names.count(column) > 1:
            raise UserError(f'{name}: the column "{column}" stands twice')
        if column in required and column not in names:
            raise UserError(f'{name}: the column "{column}" is missing{nearest(column, names)}')
    return [column for column in wanted if column in names]
