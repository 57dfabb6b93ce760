"""Captions that state the shape of a picture and nothing else."""

from collections.abc import Sequence

from curation.captions.base import Captioner, Request
from curation.models.text.generation import Answer


class Frame(Captioner):
    """It reads the row alone: `side = None`, and no picture is decoded."""

    name = "frame"
    version = 1
    generative = False

    def caption(self, requests: Sequence[Request]) -> list[Answer]:
        """See Captioner."""
        return [Answer(_sentence(request.row["width"], request.row["height"])) for request in requests]


def _sentence(width: int, height: int) -> str:
    shape = "horizontal" if width > height else "vertical" if width < height else "square"
    return f"A {shape} picture of {width} by {height} pixels."
