"""Detects changes to the files from which the table was loaded."""

from curation.errors import StageError
from curation.workspace import Workspace
from curation.workspace.digests import digest
from curation.workspace.files import stamps


class Loaded:
    """Remembers size and time of each shard's wide file and samples file.

    Args:
        workspace: the workspace of the files.
        shards: corpus and name of each shard.
    """

    def __init__(self, workspace: Workspace, shards: list[tuple[str, str]]) -> None:
        self._workspace = workspace
        self._stamps = {shard: stamps(self._files(*shard)) for shard in shards}

    @property
    def version(self) -> str:
        """A short text that identifies the state of the files; it differs if any file differs."""
        return digest([[*shard, *found] for shard, found in self._stamps.items()])[:12]

    def check(self, corpus: str, shard: str) -> None:
        """Raises StageError if a file of the shard has changed, as its rows may now be other images."""
        files = self._files(corpus, shard)
        for path, now, then in zip(files, stamps(files), self._stamps[corpus, shard], strict=True):
            if now != then:
                raise StageError(f"{path} has changed since this page was opened; start `curate tune` again")

    def _files(self, corpus: str, shard: str) -> list[str]:
        return [str(self._workspace.wide(corpus, shard)), str(self._workspace.samples(corpus, shard))]
