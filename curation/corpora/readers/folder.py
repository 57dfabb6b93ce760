"""Reads raw shards in which every image is a file of its own."""

import contextlib
import posixpath
import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from curation.corpora.readers.base import GONE, RawSample, Source, bounded, size_of
from curation.corpora.readers.imagefolder import METADATA, read_metadata
from curation.corpora.readers.members import CAPTION_ENDINGS, Side, clean, ending, stem
from curation.errors import RowError
from curation.keys import composed, make_key

_ESCAPED = re.compile(r"\\x([89a-f][0-9a-f])")
"""A byte of a file's name that is not UTF-8, as `members.clean` writes it."""

_KOHYA = re.compile(r"(\d+)_(.+)")
"""The name of a folder of kohya's trainer: number of repeats, and class."""


class FolderSource(Source):
    """A shard of separate image files: some files of a plain folder, or one folder of img2dataset's `files` output."""

    def samples(self) -> Iterator[RawSample]:
        """See Source. A file that no longer exists yields a sample without bytes and with the error `gone`."""
        listed: set[str] = set()
        taken: set[str] = set()
        for member in self.members or []:
            sample = RawSample(member, 0, b"")
            try:
                with self._opened(member) as file:
                    sample.data, sample.error = bounded(file, size_of(file))
            except FileNotFoundError:
                sample.error = RowError(GONE, "the file is no longer there")
            except OSError as failure:
                sample.error = RowError("unreadable", str(failure.strerror or failure), transient=True)
            else:
                row = self._metadata.get(composed(member))
                if key := self._describe(sample, [posixpath.basename(stem(member))], self._sides(member), row):
                    listed.add(key)
                if folder := _KOHYA.fullmatch(posixpath.basename(posixpath.dirname(member))):
                    sample.meta |= {"repeats": int(folder[1]), "class": folder[2]}
                name = make_key("", "", member)
                if name in taken:
                    detail = "an earlier file has the same name but for its Unicode form"
                    sample.error = RowError("duplicate_member", detail)
                taken.add(name)
            yield sample
        self.without_image = len(self._rows.keys() - listed)

    def read(self, member: str, offset: int, length: int) -> bytes:
        """See Source."""
        with self._opened(member) as file:
            return bounded(file, size_of(file))[0]

    def stamp(self) -> list[Any]:
        """See Source."""
        files = [path for member in self.members or [] for path in (member, *self._beside(member))]
        return [[path, self._stat(self._path(path))] for path in dict.fromkeys([*files, *self._metadata_files])]

    def _path(self, member: str) -> str:
        """Returns the path of what lies below the shard's folder; escaped bytes in a name may stand for themselves."""
        raw = _ESCAPED.sub(lambda match: bytes.fromhex(match[1]).decode("utf-8", "surrogateescape"), member)
        path = f"{self.path}/{member}" if member else self.path
        return path if raw == member or self.fs.exists(path) else f"{self.path}/{raw}"

    def _opened(self, member: str) -> Any:
        return self.fs.open(self._path(member), "rb")

    def _beside(self, member: str) -> list[str]:
        """Returns the paths, below the shard's folder, of the texts beside an image."""
        there = self._names(posixpath.dirname(member))
        kinds = CAPTION_ENDINGS if self.table is not None else (*CAPTION_ENDINGS, "json")
        names = (f"{name}.{kind}" for kind in kinds for name in (member, stem(member)))
        paths = [there[name] for name in names if name in there]
        return [path for path in paths if self.fs.isfile(self._path(path))]

    def _sides(self, member: str) -> list[Side]:
        sides = []
        for path in self._beside(member):
            with contextlib.suppress(OSError), self._opened(path) as file:
                sides.append(Side(path, *bounded(file, size_of(file))))
        return sides

    def _names(self, folder: str) -> dict[str, str]:
        """Returns the paths of the texts and metadata files in a folder, by the same path with a lower-case ending."""
        if folder not in self._listed:
            try:
                paths = self.fs.ls(self._path(folder), detail=False)
                names = [clean(posixpath.basename(path.rstrip("/"))) for path in paths]
            except (OSError, UnicodeError):
                names = []
            kinds = (*CAPTION_ENDINGS, "json")
            paths = [
                posixpath.join(folder, name) for name in names if name.lower() in METADATA or ending(name) in kinds
            ]
            self._listed[folder] = {f"{stem(path)}.{ending(path)}": path for path in paths}
        return self._listed[folder]

    @cached_property
    def _listed(self) -> dict[str, dict[str, str]]:
        return {}

    @cached_property
    def _metadata_files(self) -> list[str]:
        """Metadata files in the images' folders and in those above, below the shard's folder, the outermost first."""
        if self.corpus.format != "folder":
            return []
        above = {""}
        for folder in {posixpath.dirname(member) for member in self.members or []}:
            while folder:
                above.add(folder)
                folder = posixpath.dirname(folder)
        paths = [
            path
            for folder in sorted(above)
            for key, path in self._names(folder).items()
            if posixpath.basename(key).lower() in METADATA
        ]
        return paths

    @cached_property
    def _metadata(self) -> dict[str, dict[str, Any]]:
        """The rows of the metadata files by the image's path; of two, that of the inner folder."""
        rows: dict[str, dict[str, Any]] = {}
        for path in self._metadata_files:
            with self._opened(path) as file:
                named, wrong = read_metadata(posixpath.basename(path), file.read())
            if wrong:
                self.notes.append(f"{self.path}/{path} {wrong}")
            folder = posixpath.dirname(path)
            rows |= {posixpath.normpath(posixpath.join(folder, name)): row for name, row in named.items()}
        return rows
