"""`curate annotate learn`: learns the model of levels from the votes there are, and predicts every kept image."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.annotation.level_model.accuracy import figures, unseen_probabilities
from curation.annotation.level_model.enough import lacking
from curation.annotation.level_model.features import KeptFeatures, Rows, joined
from curation.annotation.level_model.files import made_from
from curation.annotation.level_model.ordinal import Matrix, OrdinalModel, fit
from curation.annotation.level_model.preparation import Preparation
from curation.annotation.level_model.queue_order import CHANCES
from curation.annotation.level_model.remaining import remaining
from curation.annotation.level_model.targets import LEVELS, Voted, read_voted
from curation.keys import key_hash
from curation.scoring.opened import Opened
from curation.workspace.files import write_table, write_text
from curation.workspace.schemas import PREDICTIONS

LEARNED = 10_000
"""Maximum number of voted images to learn from; of more, a random part is taken."""
SALT = "level model"
"""Salt of the hash by which they are taken."""
Facts = dict[str, Any]
"""What `model.json` holds and `--json` prints."""


def learn(opened: Opened) -> Facts:
    """Learns from the votes, writes the predictions and the model's figures, and returns what `model.json` holds.

    Voted images that the selection does not keep are left out. If the votes do not suffice, there is no model:
    predictions of an earlier one are removed, and `note` says what is lacking.

    Raises:
        UserError: nothing is indexed yet.
        StageError: a shard has no selection, or one by other rules.
    """
    workspace, shards = opened.workspace, opened.indexed_shards()
    made_of = made_from(opened.recipe, workspace)
    features, everyone = KeptFeatures(opened), read_voted(workspace)
    rows, kept = _voted_rows(features, shards, everyone.keys)
    voted = everyone.take(pc.index_in(kept, everyone.keys).to_numpy().astype(np.int64))
    decided = everyone.keys.filter(pa.array(everyone.decided))
    facts: Facts = {"fingerprint": made_of, "voted": len(voted.keys), "decided": int(voted.decided.sum())}
    if note := lacking(voted, opened.recipe.annotation.votes):
        workspace.predictions.unlink(missing_ok=True)
        facts["note"] = note
    else:
        voted = everyone.take(pc.index_in(rows.keys, everyone.keys).to_numpy().astype(np.int64))
        preparation = Preparation(rows)
        matrix = preparation.apply(rows)
        model = fit(matrix, voted.shares, voted.outcomes, voted.ended)
        table = pa.concat_tables(_predict(features, shards, preparation, model))
        write_table(workspace.predictions, table, made_of)
        facts |= _facts(matrix, voted, table, decided) | {
            "strength": model.strength,
            "embeddings": preparation.projection is not None,
            "signals": [features.columns[ranked.column] for ranked in preparation.ranked],
        }
    write_text(workspace.level_model, json.dumps(facts, indent=1) + "\n")
    return facts


def _voted_rows(features: KeptFeatures, shards: list[tuple[str, str]], among: pa.Array) -> tuple[Rows, pa.Array]:
    """Reads the kept images with votes, among which are at most LEARNED; returns these, and the keys of all."""
    rows = features.read(*shards[0], among)
    keys = [rows.keys]
    for shard in shards[1:]:
        part = features.read(*shard, among)
        keys.append(part.keys)
        rows = joined([rows, part])
        if len(rows.keys) > 2 * LEARNED:
            rows = _at_most(rows)
    return _at_most(rows), pa.concat_arrays(keys)


def _at_most(rows: Rows) -> Rows:
    """Returns the LEARNED images whose keys have the smallest hashes."""
    order = np.argsort(np.array([key_hash(key, SALT) for key in rows.keys.to_pylist()], np.uint64))
    return rows.take(order[:LEARNED])


def _predict(
    features: KeptFeatures, shards: list[tuple[str, str]], preparation: Preparation, model: OrdinalModel
) -> Iterator[pa.Table]:
    """Yields the predictions for the kept images of each shard."""
    for shard in shards:
        rows = features.read(*shard)
        chances = model.probabilities(preparation.apply(rows))
        columns = [*chances.T, chances @ np.arange(1, LEVELS + 1)]
        yield pa.table([rows.keys, *(pa.array(column, pa.float32()) for column in columns)], schema=PREDICTIONS)


def _facts(matrix: Matrix, voted: Voted, predictions: pa.Table, decided: pa.Array) -> Facts:
    """Returns how accurate the model is, and how many images of Level 5 remain."""
    chances = unseen_probabilities(matrix, voted)
    undecided = pc.invert(pc.is_in(predictions["key"], decided))
    left = remaining(
        chances[voted.ended, -1],
        voted.outcomes[voted.ended, -1],
        predictions[CHANCES[-1]].filter(undecided).to_numpy(),
    )
    return {
        "predicted": predictions.num_rows,
        "learned": len(voted.keys),
        "accuracy": figures(chances, voted),
        "remaining": asdict(left),
    }
