"""Reads which rows of a shard the selection has kept."""

import pyarrow as pa

from curation.corpora.samples import check_aligned
from curation.errors import StageError
from curation.scoring.opened import Opened
from curation.workspace.digests import digest
from curation.workspace.files import fingerprint, read_table


def kept_rows(opened: Opened, corpus: str, shard: str, samples: pa.Table) -> list[str | None]:
    """Returns the source (web, text_in_the_wild) of each row of a shard that the selection keeps; None for the others.

    Raises:
        StageError: the shard has no selection, or one by other rules.
    """
    path = opened.workspace.selection(corpus, shard)
    if not path.exists():
        raise StageError(f"{corpus}/{shard} has no selection; run `curate select RECIPE`")
    if fingerprint(path) != digest(opened.recipe.select.rules):
        raise StageError(f"{corpus}/{shard} was selected by other rules than the recipe's; run `curate select RECIPE`")
    selection = read_table(path)
    check_aligned(samples, selection, path)
    return selection["source"].to_pylist()
