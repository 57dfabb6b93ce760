"""Base classes of signals by an image classifier: its checkpoint, and the names that its labels map to."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator

from curation.errors import RowError, UserError, nearest
from curation.models.checkpoints import Models
from curation.models.plugin import PluginParams
from curation.models.vision.hf_classifier import Classifier
from curation.signals.base import Row, Scores, Signal

LISTED = 20
"""Largest number of labels that an error message lists."""

Column = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class LabelParams(PluginParams):
    """Parameters of a classifier: its checkpoint, and the names that its labels map to."""

    example: ClassVar[str] = ""
    """An example of a recipe entry, for error messages."""

    checkpoint: str = Field("", validate_default=True, description="folder of the checkpoint, below `models`")
    labels: dict[str, str] = Field({}, description="label of the checkpoint: name; others keep their own")

    @field_validator("checkpoint")
    @classmethod
    def _given(cls, checkpoint: str) -> str:
        if not checkpoint:
            raise ValueError(f"no such model comes with curate; give a checkpoint, for instance {cls.example}")
        return checkpoint


class ColumnParams(LabelParams):
    """Parameters of a classifier whose labels map to columns."""

    main: ClassVar[str] = ""
    """The column that at least one label must map to."""

    labels: dict[str, Column] = Field({}, validate_default=True, description="label of the checkpoint: column")

    @field_validator("labels")
    @classmethod
    def _gives_main(cls, labels: dict[str, str]) -> dict[str, str]:
        if cls.main not in labels.values():
            raise ValueError(f'no label gives the column "{cls.main}"; write for instance {cls.example}')
        return labels


class HfClassifier(Signal):
    """Base of signals by an image classifier: the probability of each name that the checkpoint's labels map to.

    If several labels map to one name, its probability is their sum, or, for labels that do not exclude each other
    (`problem_type: multi_label_classification` in config.json), their maximum.
    """

    backend = "hf_classifier"
    version = 1
    cost = 480.0  # a ViT-B/16 at 224 pixels on one core
    Params: type[PluginParams] = LabelParams
    params: LabelParams

    @cached_property
    def classifier(self) -> Classifier:
        """The classifier's checkpoint. Raises UserError if it does not exist."""
        key = f"signals.{self.name}.checkpoint"
        return Classifier(key, self.models.find(key, self.params.checkpoint))

    @cached_property
    def side(self) -> int:  # type: ignore[override]
        """See Signal. The checkpoint's own processor scales the image down further."""
        return self.classifier.side

    @cached_property
    def names(self) -> dict[str, list[int]]:
        """Indices of the model's outputs for each name. Raises UserError if `labels` has one that the model has not."""
        known = self.classifier.labels
        odd = next((label for label in self.params.labels if label not in known), None)
        if odd is not None:
            listed = ", ".join(f'"{name}"' for name in known[:LISTED]) + (", …" if len(known) > LISTED else "")
            raise UserError(
                f"{self.classifier.files['config.json']}: "
                f'expected labels among {listed}; found "{odd}"{nearest(odd, known)}',
                f"signals.{self.name}.labels",
            )
        names: dict[str, list[int]] = {}
        for i, label in enumerate(known):
            if (name := self.name_of(label)) is not None:
                names.setdefault(name, []).append(i)
        return names

    def name_of(self, label: str) -> str | None:
        """Returns the name that a label of the checkpoint maps to; None if it is not used."""
        return self.params.labels.get(label)

    def files(self) -> dict[str, Path]:
        """See Signal."""
        return self.classifier.files

    def check(self) -> None:
        """See Signal."""
        super().check()
        _ = self.names
        self.classifier.check()

    def load(self) -> None:
        """See Signal."""
        self.classifier.load()

    def score(self, rows: Sequence[Row]) -> list[Scores | RowError]:
        """See Signal."""
        images = [row.picture.bgr(self.side) for row in rows if row.picture is not None]
        probabilities = self.classifier.probabilities(images)
        together = np.sum if self.classifier.exclusive else np.max
        shares = {name: together(probabilities[:, outputs], axis=1) for name, outputs in self.names.items()}
        return [self.scores_of({name: float(of[i]) for name, of in shares.items()}) for i in range(len(rows))]

    def scores_of(self, shares: Mapping[str, float]) -> Scores:
        """Converts the probability of each name to a row's values by column."""
        return dict(shares)


class HfColumns(HfClassifier):
    """Base of signals whose recipe maps labels to columns: one column for each name, with values in 0..1."""

    params: ColumnParams

    def __init__(self, params: PluginParams, models: Models | None = None) -> None:
        super().__init__(params, models)
        self.columns = dict.fromkeys(self.params.labels.values(), pa.float32())
