"""The files from which the table was loaded: the rows that each holds, and whether it has changed since."""

from curation.errors import StageError, UserError
from curation.workspace import Workspace
from curation.workspace.digests import digest
from curation.workspace.files import stamps


class NoSuchRow(UserError):
    """The table has no row of the requested number."""


class Loaded:
    """Remembers size and time of each shard's wide file and samples file, and the rows of each shard.

    Args:
        workspace: the workspace of the files.
        shards: corpus and name of each shard.
    """

    def __init__(self, workspace: Workspace, shards: list[tuple[str, str]]) -> None:
        self._workspace = workspace
        self._stamps = {shard: stamps(self._files(*shard)) for shard in shards}
        self.rows: dict[tuple[str, str], range] = {}
        """Numbers of the table's rows by shard; the table sets them once it has read the files."""

    @property
    def version(self) -> str:
        """Short text that identifies the state of the files; it differs if any file differs."""
        return digest([[*shard, *stamps_of_shard] for shard, stamps_of_shard in self._stamps.items()])[:12]

    def place_of(self, row: int) -> tuple[str, str, int]:
        """Returns corpus, shard, and number among the shard's indexed images, of a row of the table.

        Raises:
            NoSuchRow: the table has no such row.
        """
        for (corpus, shard), rows in self.rows.items():
            if row in rows:
                return corpus, shard, row - rows.start
        raise NoSuchRow(f"there is no image {row}")

    def check(self, corpus: str, shard: str) -> None:
        """Raises StageError if a file of the shard has changed, as its rows may now be other images."""
        files = self._files(corpus, shard)
        for path, now, then in zip(files, stamps(files), self._stamps[corpus, shard], strict=True):
            if now != then:
                raise StageError(f"{path} has changed since this page was opened; start `curate tune` again")

    def _files(self, corpus: str, shard: str) -> list[str]:
        return [str(self._workspace.wide(corpus, shard)), str(self._workspace.samples(corpus, shard))]
