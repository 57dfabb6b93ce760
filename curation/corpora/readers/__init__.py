"""Reads raw shards: every sample in order, and one image's bytes by place.

Shards are read in place, never unpacked or rewritten. The user's own reader is a file in a folder that the environment
variable CURATE_READERS names, or a module that an installed package announces in the group of entry points
`curate.readers`; it defines a `Source` whose `name` is the name of the file and the recipe's `format`.
"""

from curation import extensions
from curation.corpora.readers.base import GONE, IMAGE_ENDINGS, SIDE_ENDINGS, RawSample, Source
from curation.corpora.readers.folder import FolderSource
from curation.corpora.readers.parquet import ParquetSource
from curation.corpora.readers.tar import TarSource
from curation.errors import UserError
from curation.recipe.sections import Corpus

__all__ = [
    "GONE", "IMAGE_ENDINGS", "SIDE_ENDINGS", "FolderSource", "ParquetSource", "RawSample", "Source", "TarSource",
    "reader",
]  # fmt: skip
GROUP = "curate.readers"
"""Group of the entry points of packages that bring readers."""

__path__ += extensions.own_folders("CURATE_READERS")

BUILT_IN: dict[str, type[Source]] = {
    "webdataset": TarSource,
    "parquet": ParquetSource,
    "files": FolderSource,
    "folder": FolderSource,
}


def reader(corpus: Corpus) -> type[Source]:
    """Returns the class that reads shards of the corpus's format.

    Raises:
        UserError: there is no such reader, or it does not set `ending`.
    """
    if corpus.format in BUILT_IN:
        return BUILT_IN[corpus.format]
    key = f"corpora.{corpus.name}.format"
    readers = extensions.classes(__name__, GROUP, corpus.format, Source)  # type: ignore[type-abstract]
    if not readers:
        raise UserError(f'no file of a reader defines a Source named "{corpus.format}"', key)
    if not readers[0].ending:
        raise UserError(f'the reader "{corpus.format}" does not say its `ending`', key)
    return readers[0]
