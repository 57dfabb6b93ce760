"""Types of fields that several requests have, with their bounds."""

from typing import Annotated

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

ProjectId = Annotated[int, Path(ge=1, le=2**31 - 1)]
ItemId = Annotated[int, Field(ge=1, le=2**53 - 1)]  # JavaScript rounds larger ones
Lease = Annotated[str, Field(max_length=40)]
RequestKey = Annotated[str, Field(min_length=8, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
Milliseconds = Annotated[int, Field(ge=0, le=2**31 - 1)]
Score = Annotated[int, Field(ge=1, le=5)]


class Body(BaseModel):
    """A request's body, which refuses unknown keys."""

    model_config = ConfigDict(extra="forbid")


class Nothing(BaseModel):
    """An answer without content."""
