"""Reading raw shards: every sample in order, and one image's bytes by place.

Shards are read as they lie, never unpacked or rewritten.
"""

from curation.corpora.readers.base import GONE, IMAGE_ENDINGS, SIDE_ENDINGS, RawSample, Source
from curation.corpora.readers.folder import FolderSource
from curation.corpora.readers.parquet import ParquetSource
from curation.corpora.readers.tar import TarSource

__all__ = ["GONE", "IMAGE_ENDINGS", "SIDE_ENDINGS", "FolderSource", "ParquetSource", "RawSample", "Source", "TarSource"]
