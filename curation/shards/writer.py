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
from curation.corpora.samples import raw_path
from curation.decoding.png import MAX_PROFILE_OF_PILLOW
from curation.errors import ChangedShard, RowError, StageError
from curation.images import ImageError, decode, decode_whole, probe
from curation.scoring.opened import Opened
from curation.shards.strip_metadata import StripError, strip_metadata
from curation.signals.base import Signal
from curation.tasks import Watch
from curation.workspace.digests import file_digest
from curation.workspace.files import footer, read_table, replacing, write_table
from curation.workspace.schemas import ICC_CONVERTED, ICC_KEPT, PRODUCT

PRODUCT_VERSION = 4
"""Version of the product, part of its fingerprint; it is raised when the same rows give other files."""
ENDINGS = {"jpeg": "jpg", "png": "png", "webp": "webp"}
"""File extensions by format, for the formats that the product keeps. Any other becomes a PNG of the pixels that were
scored: upright, in sRGB, eight bits a sample; nothing else is lost."""

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
    recipe, scratch, name = opened.recipe, opened.workspace.scratch, f"{number:06d}"
    failed: Counter[str] = Counter()
    records: list[dict[str, Any]] = []
    sources: OrderedDict[tuple[str, str], Source] = OrderedDict()
    (folder / f"{name}.parquet").unlink(missing_ok=True)  # its footer marks the pair as complete
    with (
        replacing(folder / f"{name}.tar", scratch) as path,
        tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for place, row in enumerate(rows):
            watch.note(os.getpid(), place, place + 1)
            try:
                if verdict := watch.verdict(place):
                    raise ImageError(verdict)
                data, format, icc = _product_bytes(
                    _read(opened, sources, row), row.format, recipe.shards.strip_metadata
                )
            except (ImageError, StripError) as error:
                failed[f"build {error.reason if isinstance(error, ImageError) else type(error).__name__}"] += 1
                continue
            record = _record(row, phase, name, place, data) | {"icc": icc}
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
    table = _table(opened, records)
    write_table(folder / f"{name}.parquet", table, fingerprint, scratch, tar=tar_sha256, failed=failures)
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


def _read(opened: Opened, sources: "OrderedDict[tuple[str, str], Source]", row: RowPlan) -> bytes:
    """Reads the raw bytes of an image; of the raw shards, only the last few used stay open."""
    shard = row.corpus, row.raw_shard
    if shard not in sources:
        corpus = opened.recipe.corpus(row.corpus)
        sources[shard] = open_source(corpus, row.raw_shard, raw_path(corpus, opened.workspace, row.raw_shard))
        if len(sources) > OPEN_SOURCES:
            sources.popitem(last=False)[1].close()
    sources.move_to_end(shard)
    place = {"member": row.member, "offset": row.offset, "length": row.length, "sha256": row.source_sha256}
    try:
        return sources[shard].image(place)
    except RowError as error:
        raise ChangedShard(f"{row.key}: {error.detail}") from None
    except OSError as error:
        raise StageError(f"{row.key}: cannot be read: {error.strerror or error}") from None


def _product_bytes(data: bytes, format: str, strip: bool) -> tuple[bytes, str, str | None]:
    """Returns the bytes that go into the tar, their format (one of the keys of `ENDINGS`), and the value of `icc`.

    Every picture is decoded here, whichever signals have read it: none that is damaged is published. A small size saves
    time with a JPEG, of which all data is read nevertheless.
    """
    header = probe(data)
    too_long = strip and format == "png" and len(header.profile or b"") > MAX_PROFILE_OF_PILLOW
    if format in ENDINGS and not too_long:
        decode(data, CHECK_SIDE, header)
        return (strip_metadata(data, format) if strip else data), format, ICC_KEPT if header.profile else None
    pixels, converted = decode_whole(data, header)
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, ::-1]).save(buffer, "PNG")
    return buffer.getvalue(), "png", ICC_CONVERTED if converted else None


def _record(row: RowPlan, phase: str, shard: str, place: int, data: bytes) -> dict[str, Any]:
    values = asdict(row)
    for name in ("corpus", "raw_shard", "member", "offset", "length", "format"):
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
        "icc",
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
