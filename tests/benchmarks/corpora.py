"""Corpora for measurements: JPEG of about 2 megapixels and 450 kB, stored as img2dataset stores them."""

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.cli.first_recipe import sample_folder
from curation.images import ImageError, decode

SIZE = (1632, 1224)
BYTES = 450_000


def photos() -> Iterator[np.ndarray]:
    """The sample's readable pictures, scaled to 2 megapixels."""
    for path in sorted(sample_folder().glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if not member.name.endswith(".jpg"):
                    continue
                try:
                    pixels = decode(tar.extractfile(member).read())  # type: ignore[union-attr]
                except ImageError:
                    continue
                yield cv2.resize(pixels, SIZE if pixels.shape[1] > pixels.shape[0] else SIZE[::-1])


def jpeg(pixels: np.ndarray, rng: np.random.Generator) -> bytes:
    """Quality 90 with as much grain as makes about 450 kB; the grain makes every file another one."""
    low, high, data = 0.0, 24.0, b""
    for _ in range(6):
        grain = (low + high) / 2
        noisy = np.clip(pixels + rng.normal(0, grain, pixels.shape[:2])[..., None], 0, 255).astype(np.uint8)
        data = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
        low, high = (grain, high) if len(data) < BYTES else (low, grain)
    return data


def jpegs(count: int) -> list[bytes]:
    """`count` files; the first 40 differ in content, the rest repeat them with another comment."""
    rng = np.random.default_rng(0)
    distinct = [jpeg(pixels, rng) for pixels, _ in zip(photos(), range(40), strict=False)]
    files = []
    for number in range(count):
        data, comment = distinct[number % len(distinct)], b"%08d" % number
        files.append(data[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + data[2:])
    return files


def write_webdataset(folder: Path, files: list[bytes], shards: int = 1) -> None:
    """Tars with `.jpg`, `.txt`, `.json` and the table beside each, even shares."""
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(shards):
        part = range(shard * len(files) // shards, (shard + 1) * len(files) // shards)
        rows = [{"key": f"{n:09d}", "caption": f"picture number {n}", "url": f"https://example.org/{n}.jpg",
                 "status": "success", "width": SIZE[0], "height": SIZE[1]} for n in part]  # fmt: skip
        with tarfile.open(folder / f"{shard:05d}.tar", "w") as tar:
            for row, number in zip(rows, part, strict=True):
                for ending, data in (("jpg", files[number]), ("txt", str(row["caption"]).encode()),
                                     ("json", json.dumps(row).encode())):  # fmt: skip
                    info = tarfile.TarInfo(f"{row['key']}.{ending}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{shard:05d}.parquet")
