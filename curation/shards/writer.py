"""Writes one shard of the product: a webdataset tar, and the Parquet table beside it."""

import hashlib
import io
import json
import os
import tarfile
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from curation.corpora.listing import open_source
from curation.corpora.readers import Source
from curation.errors import StageError
from curation.images import ImageError, decode
from curation.recipe import Recipe
from curation.scoring.opened import Opened
from curation.shards.strip_metadata import StripError, strip_metadata
from curation.signals.base import Signal
from curation.tasks import Watch
from curation.workspace.digests import file_digest
from curation.workspace.files import footer, read_table, replacing, write_table
from curation.workspace.schemas import PRODUCT

PRODUCT_VERSION = 3
"""Version of the product, part of its fingerprint; it is raised when the same rows give other files."""
ENDINGS = {"jpeg": "jpg", "png": "png", "webp": "webp"}
"""File extensions by format, for the formats that the product keeps; any other becomes a PNG of the same pixels."""

OPEN_SOURCES = 16
"""Maximum number of raw shards held open at once."""
CHECK_SIDE = 64
"""Long side in pixels at which every picture is decoded once more before it is written."""


def signal_columns(signals: Iterable[Signal]) -> dict[str, pa.DataType]:
    """Returns the columns of signals that are part of the product: numbers and names, but no lists.

    A column whose name is one of the product's own is left out too: the text that `ocr` has read is not the training
    text.
    """
    columns = ((name, kind) for signal in signals for name, kind in signal.columns.items())
    return {name: kind for name, kind in columns if not pa.types.is_nested(kind) and name not in PRODUCT.names}


@dataclass(frozen=True, slots=True)
class RowPlan:
    """One image of the product: where its bytes are, and what is stored about it."""

    key: str
    corpus: str
    raw_shard: str
    path: str
    member: str
    offset: int
    length: int
    format: str
    width: int
    height: int
    source_sha256: str
    url: str | None
    license: str | None
    text: str
    caption_source: str
    caption_language: str
    caption: str | None
    caption_en: str | None
    caption_zh: str | None
    translated: bool | None
    original_en: str | None
    flags: list[str] | None
    bucket: str
    source: str
    level: int | None
    signals: str


def write_product_shard(
    opened: Opened, folder: Path, phase: str, number: int, rows: list[RowPlan], fingerprint: str, watch: Watch
) -> tuple[int, Counter[str]]:
    """Writes `NUMBER.tar` and `NUMBER.parquet`; returns the number of images written, and the failed ones by reason.

    A tar member is named after the shard (six digits) and the row's position in it (four digits), so that a failed row
    leaves a gap. The tar is byte-identical for the same rows: it has no times and no owners.

    Args:
        opened: the opened recipe.
        folder: the folder of the product's phase.
        phase: `concept` or `quality`.
        number: number of the shard.
        rows: the images of the shard.
        fingerprint: digest of everything that the shard is made from, for the table's footer.
        watch: takes note of the row that is being processed, and names the rows to be failed.

    Raises:
        StageError: a raw image cannot be read, or has changed since it was indexed.
    """
    recipe, name = opened.recipe, f"{number:06d}"
    failed: Counter[str] = Counter()
    records: list[dict[str, Any]] = []
    sources: OrderedDict[str, Source] = OrderedDict()
    (folder / f"{name}.parquet").unlink(missing_ok=True)  # its footer marks the pair as complete
    with replacing(folder / f"{name}.tar") as path, tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for place, row in enumerate(rows):
            watch.note(os.getpid(), place, place + 1)
            try:
                if verdict := watch.verdict(place):
                    raise ImageError(verdict)
                data, format = _product_bytes(_read(recipe, sources, row), row.format, recipe.shards.strip_metadata)
            except (ImageError, StripError) as error:
                failed[f"build {error.reason if isinstance(error, ImageError) else type(error).__name__}"] += 1
                continue
            record = _record(row, phase, name, place, data)
            stem = f"{name}{place:04d}"
            record["offset"] = _add(tar, f"{stem}.{ENDINGS[format]}", data)
            record["length"] = len(data)
            _add(tar, f"{stem}.txt", row.text.encode())
            _add(tar, f"{stem}.json", json.dumps(_json(record), ensure_ascii=False).encode())
            records.append(record)
    watch.note(os.getpid())
    for source in sources.values():
        source.close()
    tar_sha256 = file_digest(folder / f"{name}.tar")
    failures = json.dumps(dict(sorted(failed.items())))
    write_table(folder / f"{name}.parquet", _table(opened, records), fingerprint, tar=tar_sha256, failed=failures)
    return len(records), failed


def built_before(folder: Path, number: int, fingerprint: str) -> tuple[int, Counter[str]] | None:
    """Returns the result of `write_product_shard` for this shard; None if its files are missing or have changed."""
    name = f"{number:06d}"
    table, tar = folder / f"{name}.parquet", folder / f"{name}.tar"
    notes = footer(table) or {}
    if notes.get("fingerprint") != fingerprint or not tar.exists() or file_digest(tar) != notes.get("tar"):
        return None
    try:
        return read_table(table).num_rows, Counter(json.loads(notes["failed"]))
    except StageError:
        return None


def _read(recipe: Recipe, sources: OrderedDict[str, Source], row: RowPlan) -> bytes:
    """Reads the raw bytes of an image; of the raw shards, only the last few used stay open."""
    if row.path not in sources:
        sources[row.path] = open_source(recipe.corpus(row.corpus), row.raw_shard, row.path)
        if len(sources) > OPEN_SOURCES:
            sources.popitem(last=False)[1].close()
    sources.move_to_end(row.path)
    try:
        data = sources[row.path].read(row.member, row.offset, row.length)
    except OSError as error:
        raise StageError(f"{row.key}: cannot be read: {error.strerror or error}") from None
    if hashlib.sha256(data).hexdigest() != row.source_sha256:
        raise StageError(f"{row.key}: the raw shard has changed; run `curate index` and the stages after it again")
    return data


def _product_bytes(data: bytes, format: str, strip: bool) -> tuple[bytes, str]:
    """Returns the bytes that go into the tar, and their format: one of the keys of `ENDINGS`."""
    if format in ENDINGS:
        decode(data, CHECK_SIDE)  # never publish a damaged picture, whatever the predicates read
        return (strip_metadata(data, format) if strip else data), format
    buffer = io.BytesIO()
    Image.fromarray(decode(data)[:, :, ::-1]).save(buffer, "PNG")
    return buffer.getvalue(), "png"


def _record(row: RowPlan, phase: str, shard: str, place: int, data: bytes) -> dict[str, Any]:
    values = asdict(row)
    for name in ("corpus", "raw_shard", "path", "member", "offset", "length", "format"):
        del values[name]
    values["signals"] = json.loads(row.signals)
    return values | {
        "shard": shard,
        "index": place,
        "phase": phase,
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def _json(record: dict[str, Any]) -> dict[str, Any]:
    """Returns the contents of the `.json` member."""
    names = (
        "key",
        "caption",
        "caption_en",
        "caption_zh",
        "original_en",
        "flags",
        "caption_source",
        "caption_language",
        "width",
        "height",
        "bucket",
        "level",
        "phase",
        "source",
        "url",
        "license",
        "signals",
        "sha256",
        "source_sha256",
    )
    return {name: record[name] for name in names}


def _table(opened: Opened, records: list[dict[str, Any]]) -> pa.Table:
    """Returns the Parquet table: the records, with every signal in a column of its own."""
    flat = [{k: v for k, v in r.items() if k != "signals"} | r["signals"] for r in records]
    kinds = signal_columns(opened.cascade.signals.values()) | {f.name: f.type for f in PRODUCT}
    names = sorted(kinds.keys() | {name for row in flat for name in row})
    first = ["key", "shard", "index", "offset", "length", "width", "height", "text"]
    ordered = [*first, *(n for n in names if n not in first)]
    return pa.table({name: pa.array([row.get(name) for row in flat], kinds.get(name)) for name in ordered})


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> int:
    """Adds a member to the tar, and returns the offset of its data in bytes."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    offset = tar.offset + tarfile.BLOCKSIZE
    tar.addfile(info, io.BytesIO(data))
    return offset
