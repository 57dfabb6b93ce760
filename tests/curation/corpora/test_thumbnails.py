"""Thumbnails: small, upright, without metadata, from every format of corpus; none where there is no picture."""

import io
import threading
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curation.corpora import thumbnails
from curation.recipe import Recipe
from curation.workspace import Workspace
from tests import bench


def thumbnails_of(made: Recipe) -> thumbnails.Thumbnails:
    return thumbnails.Thumbnails(made, Workspace(made.workspace))


def opened(data: bytes | None) -> Image.Image:
    assert data is not None
    return Image.open(io.BytesIO(data))


@pytest.fixture
def one(tmp_path: Path) -> Callable[[bytes], Recipe]:
    """An indexed corpus of a single image of these bytes."""

    def make(data: bytes) -> Recipe:
        bench.write_tar(tmp_path / "raw" / "00000.tar", {"a.jpg": data})
        made = bench.recipe(tmp_path)
        bench.index(made)
        return made

    return make


def write_corpus(folder: Path, kind: str, pictures: dict[str, bytes]) -> None:
    """The pictures as a corpus of this format."""
    folder.mkdir()
    if kind == "webdataset":
        bench.write_tar(folder / "00000.tar", pictures)
    elif kind == "parquet":
        columns = {"key": [name.partition(".")[0] for name in pictures], "jpg": list(pictures.values())}
        pq.write_table(pa.table(columns), folder / "00000.parquet", row_group_size=2)
    else:
        place = folder / "00000" if kind == "files" else folder
        place.mkdir(exist_ok=True)
        for name, data in pictures.items():
            (place / name).write_bytes(data)


@pytest.mark.parametrize("kind", ["webdataset", "parquet", "files", "folder"])
def test_every_format_of_corpus_shows_the_picture_of_its_row(tmp_path: Path, kind: str) -> None:
    formats = {"a.jpg": "JPEG", "b.png": "PNG", "c.jpg": "JPEG", "d.webp": "WEBP"}
    pictures = {
        name: bench.encoded(bench.picture(n, (60 + 10 * n, 50)), format)
        for n, (name, format) in enumerate(formats.items())
    }
    write_corpus(tmp_path / "raw", kind, pictures | {"e.jpg": b"<html>"})
    made = bench.recipe(tmp_path, corpora=[{"name": "c", "path": "./raw", "format": kind}])
    bench.index(made)
    shown = thumbnails_of(made)
    sizes = [opened(shown.jpeg("c", "00000", n)).size for n in (0, 3, 1, 2)]
    assert sizes == [(60, 50), (90, 50), (70, 50), (80, 50)]
    assert opened(shown.jpeg("c", "00000", 3, 45)).size == (45, 25)
    assert shown.jpeg("c", "00000", 4) is None
    shown.close()


def test_it_is_upright_and_has_no_metadata(one: Callable[[bytes], Recipe]) -> None:
    picture = bench.picture(1, (400, 200))
    picture.paste((255, 0, 0), (0, 0, 400, 60))  # red at the top, which orientation 6 turns to the right
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a secret place"
    made = one(bench.encoded(picture, exif=exif, comment=b"secret", icc_profile=b"secret" * 40))
    data = thumbnails_of(made).jpeg("c", "00000", 0, 100)
    small = opened(data)
    assert small.size == (50, 100) and b"secret" not in (data or b"")
    assert not small.getexif() and set(small.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    red, green, _ = small.convert("RGB").getpixel((45, 50))  # type: ignore[misc]
    assert red > 200 and green < 60


def test_a_small_picture_is_not_enlarged(one: Callable[[bytes], Recipe]) -> None:
    assert opened(thumbnails_of(one(bench.encoded(bench.picture(1, (40, 30))))).jpeg("c", "00000", 0)).size == (40, 30)


@pytest.mark.parametrize("data", [
    b"", b"<html>", bench.encoded(bench.picture(1))[:3000], bench.encoded(Image.new("1", (20_000, 20_000)), "PNG"),
], ids=["empty", "page", "cut", "too large"])  # fmt: skip
def test_what_cannot_be_decoded_is_none(one: Callable[[bytes], Recipe], data: bytes) -> None:
    assert thumbnails_of(one(data)).jpeg("c", "00000", 0) is None


@pytest.mark.parametrize(("corpus", "shard", "row"), [
    ("c", "00000", 1), ("c", "00000", -1), ("c", "99999", 0), ("other", "00000", 0), ("c", "../c/00000", 7),
])  # fmt: skip
def test_what_is_not_there_is_none(one: Callable[[bytes], Recipe], corpus: str, shard: str, row: int) -> None:
    assert thumbnails_of(one(bench.encoded(bench.picture(1)))).jpeg(corpus, shard, row) is None


def test_a_raw_shard_that_is_gone_or_cut_is_none(one: Callable[[bytes], Recipe], tmp_path: Path) -> None:
    made = one(bench.encoded(bench.picture(1)))
    tar = tmp_path / "raw" / "00000.tar"
    tar.write_bytes(tar.read_bytes()[:2000])
    assert thumbnails_of(made).jpeg("c", "00000", 0) is None
    tar.unlink()
    assert thumbnails_of(made).jpeg("c", "00000", 0) is None


def test_many_threads_over_more_shards_than_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnails, "SHARDS_KEPT", 2)
    for n in range(5):
        members = {f"{i}.jpg": bench.encoded(bench.picture(10 * n + i, (80 + 20 * n, 60 + 10 * i))) for i in range(4)}
        bench.write_tar(tmp_path / "raw" / f"{n:05d}.tar", members)
    made = bench.recipe(tmp_path)
    bench.index(made)
    shown, wrong = thumbnails_of(made), []

    def look(start: int) -> None:
        for step in range(40):
            n, i = (start + step) % 5, (start + 3 * step) % 4
            size = opened(shown.jpeg("c", f"{n:05d}", i)).size
            if size != (80 + 20 * n, 60 + 10 * i):
                wrong.append((n, i, size))

    threads = [threading.Thread(target=look, args=(start,)) for start in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and len(shown._sources) == 2
    shown.close()
    assert not shown._sources
