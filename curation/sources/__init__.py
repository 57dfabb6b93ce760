"""Reading raw shards: every sample in order, and one image's bytes by place.

Shards are read as they lie, never unpacked or rewritten.
"""

from curation.sources.base import IMAGE_ENDINGS, SIDE_ENDINGS, RawSample, Source
from curation.sources.folder import FolderSource
from curation.sources.parquet import ParquetSource
from curation.sources.tar import TarSource

__all__ = ["IMAGE_ENDINGS", "SIDE_ENDINGS", "FolderSource", "ParquetSource", "RawSample", "Source", "TarSource"]
