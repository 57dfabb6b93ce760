"""Types of fields that several sections of the recipe use."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z0-9_-]+$", description="lower-case letters, digits, _ and -")]


def _bytes(value: Any) -> Any:
    """Converts a number, or a text such as `4 GB`, to bytes; K, M, G and T are powers of 1,000, Ki to Ti of 1,024."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([KMGT]i?)?B?\s*", value, re.IGNORECASE)
    if not match:
        raise ValueError("write it as 4 GB or as a number of bytes")
    unit = (match[2] or "").lower()
    return int(float(match[1]) * (1024 if unit.endswith("i") else 1000) ** " kmgt".index(unit[:1] or " "))


Bytes = Annotated[int, BeforeValidator(_bytes), Field(ge=0)]


class Section(BaseModel):
    """A section of the recipe, which refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def as_text(shares: Any) -> Any:
    """Converts names to text as DuckDB writes values, since YAML reads `true`, `3` or `null` as other types."""
    if not isinstance(shares, dict):
        return shares
    return {("" if k is None else str(k).lower() if isinstance(k, bool) else str(k)): v for k, v in shares.items()}
