"""Reads raw shards in which every image is a file of its own."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from curation.corpora.readers.base import GONE, Part, RawSample, Source, beside, bounded, size_of
from curation.errors import RowError
from curation.keys import make_key


class FolderSource(Source):
    """A shard of separate image files: some files of a plain folder, or one folder of img2dataset's `files` output."""

    def samples(self) -> Iterator[RawSample]:
        """See Source. A file that no longer exists yields a sample without bytes and with the error `gone`."""
        seen: set[str] = set()
        names: set[str] = set()
        for member in self.members or []:
            path = f"{self.path}/{member}"
            try:
                with self.fs.open(path, "rb") as file:
                    data, error = bounded(file, size_of(file))
            except FileNotFoundError:
                yield RawSample(member, 0, b"", error=_missing(member))
                continue
            except OSError as failure:
                error = RowError("unreadable", str(failure.strerror or failure), transient=True)
                yield RawSample(member, 0, b"", error=error)
                continue
            sample = RawSample(member, 0, data, error=error)
            self._fill(sample, PurePosixPath(member).stem, self._side_parts(member))
            name = make_key("", "", member)
            if name in names:
                detail = "an earlier file has the same name but for its Unicode form"
                sample.error = RowError("duplicate_member", detail)
            names.add(name)
            seen.add(PurePosixPath(member).stem)
            yield sample
        self.without_image = len(self._rows.keys() - seen)

    def read(self, member: str, offset: int, length: int) -> bytes:
        """See Source."""
        with self.fs.open(f"{self.path}/{member}", "rb") as file:
            return file.read()

    def _side_parts(self, member: str) -> list["Part"]:
        """Returns the `.txt` and, if the shard has no table, the `.json` of the same name as the image."""
        parts = []
        for ending in ("txt", "json") if self.table is None else ("txt",):
            try:
                with self.fs.open(f"{self.path}/{beside(member, ending)}", "rb") as file:
                    parts.append(Part(ending, 0, bounded(file, size_of(file))[0], None))
            except (FileNotFoundError, IsADirectoryError):
                continue
        return parts


def _missing(member: str) -> RowError:
    """Returns the error for a listed file that is not found."""
    if "\ufffd" in member:  # replaces bytes that are not UTF-8, which the listing cannot hold
        return RowError("bad_name", "the file's name is not UTF-8")
    return RowError(GONE, "the file is no longer there")
