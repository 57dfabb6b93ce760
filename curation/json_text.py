"""Writes what a verb says with `--json`: one valid JSON object, whatever the values are."""

import json
import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any


def json_text(value: Any, indent: int | None = None) -> str:
    """Returns a value as JSON, in one line if `indent` is None.

    NaN and infinities, which JSON lacks, become null; bytes become hexadecimal text; a decimal becomes a number where
    that keeps its value and text elsewhere; dates, times and whatever else JSON lacks become text.
    """
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, indent=indent)


def distinct(columns: Sequence[str]) -> list[str]:
    """Returns a query's column names, equal ones with a number from the second on: `a`, `a_2`."""
    names: list[str] = []
    for column in columns:
        name, number = column, 1
        while name in names or (number > 1 and name in columns):
            number += 1
            name = f"{column}_{number}"
        names.append(name)
    return names


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return float(value) if value.is_finite() and Decimal(repr(float(value))) == value else str(value)
    if isinstance(value, bytes | bytearray):
        return value.hex()
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(inner) for inner in value]
    return str(value)
