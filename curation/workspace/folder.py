"""The workspace folder: the paths of each stage's files.

Every stage writes `STAGE/CORPUS/SHARD.parquet`. A file is written atomically (under a temporary name, synced, renamed),
and its footer carries the fingerprint of its inputs: the shard is done if that matches.
"""

import os
import socket
from pathlib import Path


class Workspace:
    """Paths of one workspace.

    Args:
        root: a local or mounted folder, which is created on the first write.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def samples(self, corpus: str, shard: str) -> Path:
        """Returns the path of the samples file of a raw shard: one row for each image, written by the index."""
        return self.root / "samples" / corpus / f"{shard}.parquet"

    def folder_listing(self, corpus: str) -> Path:
        """Returns the path of the table that assigns the files of a plain folder to shards."""
        return self.root / "samples" / corpus / "files.parquet"

    def signal(self, name: str, corpus: str, shard: str) -> Path:
        """Returns the path of one signal's scores, row-aligned with the samples file of the same shard."""
        return self.root / "signals" / name / corpus / f"{shard}.parquet"

    def wide(self, corpus: str, shard: str) -> Path:
        """Returns the path of the samples joined with all signals, without lists and long text; may be deleted."""
        return self.root / "signals" / ".wide" / corpus / f"{shard}.parquet"

    @property
    def duplicates(self) -> Path:
        """Path of the duplicates that the last `select` or `report` found by embeddings; may be deleted."""
        return self.root / "signals" / ".wide" / "duplicates.parquet"

    def selection(self, corpus: str, shard: str) -> Path:
        """Returns the path of the fate of every row of a shard."""
        return self.root / "selection" / corpus / f"{shard}.parquet"

    def captions(self, corpus: str, shard: str) -> Path:
        """Returns the path of the captions of a shard's kept rows."""
        return self.root / "captions" / corpus / f"{shard}.parquet"

    def answers(self, corpus: str, shard: str) -> Path:
        """Returns the path of a raw shard's cached answers of captioners and translators."""
        return self.root / "captions" / ".answers" / corpus / f"{shard}.sqlite"

    @property
    def votes(self) -> Path:
        """Path of all votes ever imported, append-only by revision."""
        return self.root / "votes.parquet"

    @property
    def decisions(self) -> Path:
        """Path of the verdicts of adjudications and safety reviews, which stand above the votes."""
        return self.root / "decisions.parquet"

    @property
    def ratings(self) -> Path:
        """Path of all ratings of generated images, append-only by revision."""
        return self.root / "ratings.parquet"

    @property
    def levels(self) -> Path:
        """Path of the levels that votes and decisions give each image."""
        return self.root / "levels.parquet"

    @property
    def predictions(self) -> Path:
        """Path of the levels that a model, learned from the votes, predicts for the kept images; may be deleted."""
        return self.root / "annotation" / "predictions.parquet"

    @property
    def level_model(self) -> Path:
        """Path of the figures of the model that has made the predictions, or of what it lacks; may be deleted."""
        return self.root / "annotation" / "model.json"

    @property
    def funnel(self) -> Path:
        """Path of the counts of the last `select`, for the card and the report."""
        return self.root / "selection" / "funnel.json"

    def ledger(self, stage: str) -> Path:
        """Returns the path of a stage's ledger, which has one line for each shard that is done."""
        return self.root / ".ledger" / f"{stage}.jsonl"

    @property
    def running(self) -> Path:
        """Path of the progress file of the stage that is running."""
        return self.root / ".running.json"

    @property
    def runs(self) -> Path:
        """Path of the log of runs, a line of JSON for each run of a stage: time, duration, number of rows."""
        return self.root / "logs" / "runs.jsonl"

    @property
    def spill(self) -> Path:
        """Folder for temporary files of this process's DuckDB, which removes them; two processes may not share one."""
        return self.root / f".spill.{socket.gethostname()}.{os.getpid()}"

    def places(self, corpus: str, shard: str) -> Path:
        """Returns the path of the places of a raw shard's lines, from which the product is made; may be deleted."""
        return self.root / ".plan" / "rows" / corpus / f"{shard}.parquet"

    @property
    def scratch(self) -> Path:
        """Path of the folder of the product's unfinished files; the next run removes what a killed one leaves there."""
        return self.root / ".unfinished"

    def product(self, phase: str) -> Path:
        """Returns the folder of the shards of one training phase: `concept` or `quality`."""
        return self.root / "shards" / phase

    def shards(self, corpus: str) -> list[str]:
        """Returns the names of the corpus's indexed shards, sorted."""
        listing = self.folder_listing(corpus).name
        try:
            names = os.listdir(self.root / "samples" / corpus)
        except OSError:
            return []
        shard_files = (n for n in names if n.endswith(".parquet") and not n.startswith(".") and n != listing)
        return sorted(n.removesuffix(".parquet") for n in shard_files)
