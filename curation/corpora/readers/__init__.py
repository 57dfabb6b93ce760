"""Readers of raw shards: all samples in order, or the bytes of one image by its recorded place.

Shards are read in their original form, never unpacked or rewritten.
"""

from curation.corpora.readers.base import IMAGE_ENDINGS, SIDE_ENDINGS, RawSample, Source
from curation.corpora.readers.folder import FolderSource
from curation.corpora.readers.parquet import ParquetSource
from curation.corpora.readers.tar import TarSource

__all__ = ["IMAGE_ENDINGS", "SIDE_ENDINGS", "FolderSource", "ParquetSource", "RawSample", "Source", "TarSource"]
