"""Which caption belongs to which image, told by names."""

import gzip
import io
import tarfile
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from curation.corpora.listing import list_sources
from curation.corpora.readers import Source
from curation.corpora.readers.members import Side, clean, ending, member_names, sides_of, stem
from curation.errors import UserError
from curation.recipe.sections import Corpus
from tests import bench


@pytest.mark.parametrize(
    "images, members",
    [
        (["a.jpg", "b.jpg"], ["a", "b"]),
        (["22.05.jpg", "22.06.jpg"], ["22.05", "22.06"]),
        (["22.05.jpg"], ["22"]),  # as it always was: the sample has one image
        (["s.input.jpg"], ["s"]),
        (["dress.1.jpg", "dress.2.jpg", "hat.jpg"], ["dress.1", "dress.2", "hat"]),
        (["a.jpg", "a.seg.png"], ["a", "a.seg"]),
        (["a.jpg", "a.png"], ["a", "a.png"]),
        (["x.y/a.jpg", "x.z/a.jpg"], ["x.y/a", "x.z/a"]),
        (["a.jpg", "a.jpg"], ["a", "a"]),
        (["noending"], ["noending"]),
    ],
)
def test_a_member_is_its_samples_name_or_its_own(images: list[str], members: list[str]) -> None:
    assert member_names(images) == members


@pytest.mark.parametrize(
    "images, texts, owners",
    [
        (["a.jpg"], ["a.txt"], ["a.txt"]),
        (["s.input.jpg"], ["s.outputs.txt"], ["s.outputs.txt"]),
        (["dress.1.jpg", "dress.2.jpg"], ["dress.txt"], ["dress.txt", "dress.txt"]),
        (["dress.1.jpg", "dress.2.jpg"], ["dress.txt", "dress.2.txt"], ["dress.txt", "dress.2.txt"]),
        (["22.05.jpg", "22.06.jpg"], ["22.06.txt", "22.05.txt"], ["22.05.txt", "22.06.txt"]),
        (["22.05.jpg", "22.08.jpg"], ["22.05.txt", "22.07.txt"], ["22.05.txt", None]),  # 22.07's image is missing
        (["a.jpg"], ["b.txt", "x/a.txt"], [None]),
        (["a.jpg"], ["a.caption", "a.txt"], ["a.txt"]),
        (["d.jpg", "d.png"], ["d.jpg.txt", "d.png.txt"], ["d.jpg.txt", "d.png.txt"]),
        (["g.x.jpg", "g.y.jpg"], ["g.x.jpg.txt", "g.y.jpg.txt"], ["g.x.jpg.txt", "g.y.jpg.txt"]),
        (["x/a.jpg", "y/a.jpg"], ["y/a.txt", "x/a.txt"], ["x/a.txt", "y/a.txt"]),
    ],
)
def test_a_text_belongs_to_its_own_image_or_to_those_of_its_sample(
    images: list[str], texts: list[str], owners: list[str | None]
) -> None:
    found = sides_of(images, [Side(name, b"") for name in texts])
    assert [sides[0].name if sides else None for sides in found] == owners


def test_caption_and_json_of_an_image_may_be_named_in_two_ways() -> None:
    (found,) = sides_of(["s.input.jpg"], [Side("s.json", b""), Side("s.input.txt", b"")])
    assert [side.name for side in found] == ["s.input.txt", "s.json"]


@pytest.mark.parametrize(
    "name, cleaned",
    [("./a.jpg", "a.jpg"), ("x//y/./a.jpg", "x/y/a.jpg"), ("/a.jpg", "a.jpg"), ("图.jpg", "图.jpg"),
     ("图二".encode("gb18030").decode("utf-8", "surrogateescape") + ".jpg", "ͼ\\xb6\\xfe.jpg"),
     ("図".encode("shift_jis").decode("utf-8", "surrogateescape") + ".jpg", "\\x90}.jpg")],
)  # fmt: skip
def test_names_are_cleaned_and_bytes_escaped(name: str, cleaned: str) -> None:
    assert clean(name) == cleaned and cleaned.encode()


def test_endings_and_stems() -> None:
    assert (ending("a.seg.JPG"), stem("f/a.seg.jpg"), ending("f.x/none"), stem("none")) == (
        "jpg",
        "f/a.seg",
        "",
        "none",
    )


def source_of(path: Path) -> Source:
    (source,) = list_sources(Corpus(name="c", path=str(path))).sources
    return source


def captions(source: Source) -> list[tuple[str, str | None]]:
    return [(sample.member, sample.caption) for sample in list(source.samples())]


def add(tar: tarfile.TarFile, name: str, data: bytes = b"", **fields: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    tar.addfile(info, io.BytesIO(data))


def test_links_to_images_and_to_texts_are_rows_and_captions(tmp_path: Path) -> None:
    jpeg = bench.encoded(bench.picture(0))
    with tarfile.open(tmp_path / "00000.tar", "w") as tar:
        add(tar, "./x/0.jpg", jpeg)
        add(tar, "./x/0.txt", b"zero")
        add(tar, "./x/1.jpg", type=tarfile.LNKTYPE, linkname="./x/0.jpg")
        add(tar, "./x/1.txt", type=tarfile.LNKTYPE, linkname="./x/0.txt")
        add(tar, "./x/2.jpg", type=tarfile.SYMTYPE, linkname="0.jpg")
        add(tar, "./x/3.jpg", type=tarfile.SYMTYPE, linkname="/etc/hostname")
        add(tar, "./x/4.jpg", type=tarfile.LNKTYPE, linkname="./x/4.jpg")
        add(tar, "./x/5.jpg", type=tarfile.SYMTYPE, linkname="../y/6.jpg")  # a link to a link to what comes later
        add(tar, "./y/6.jpg", type=tarfile.LNKTYPE, linkname="./y/7.jpg")
        add(tar, "./y/7.jpg", jpeg)
    source = source_of(tmp_path)
    samples = list(source.samples())
    assert {(s.member, s.caption) for s in samples} == {
        ("x/0", "zero"), ("x/1", "zero"), ("x/2", None), ("x/5", None), ("y/6", None), ("y/7", None)
    }  # fmt: skip
    assert all(source.read(s.member, s.offset, len(jpeg)) == jpeg for s in samples) and source.damage is None
    assert [note.split(": ")[1].split(" ")[0] for note in source.notes] == ["x/3.jpg", "x/4.jpg"]


def test_captions_may_follow_behind_all_images(tmp_path: Path) -> None:
    jpeg = bench.encoded(bench.picture(0))
    files = {f"{n}.jpg": jpeg for n in range(3)} | {f"{n}.txt": str(n).encode() for n in reversed(range(3))}
    with tarfile.open(tmp_path / "00000.tar", "w") as tar:
        for name, data in files.items():
            add(tar, name, data)
    assert captions(source_of(tmp_path)) == [("0", "0"), ("1", "1"), ("2", "2")]


def test_tars_joined_by_cat_are_read_to_the_end(tmp_path: Path, make_tar: Callable[..., Path]) -> None:
    jpeg = bench.encoded(bench.picture(0))
    parts = [
        make_tar(tmp_path / f"part{n}", [(f"{n}.jpg", jpeg), (f"{n}.txt", b"%d" % n)]).read_bytes() for n in range(3)
    ]
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/00000.tar").write_bytes(b"".join(parts))
    source = source_of(tmp_path / "corpus")
    assert captions(source) == [("0", "0"), ("1", "1"), ("2", "2")] and source.damage is None
    (tmp_path / "corpus/00000.tar").write_bytes(parts[0] + b"no tar" * 200 + parts[1])
    source = source_of(tmp_path / "corpus")
    assert captions(source) == [("0", "0")] and source.damage and str(len(parts[0])) in source.damage


@pytest.mark.parametrize("cut", [512, 700])
def test_a_header_that_is_all_zeros_is_damage_and_no_end(
    tmp_path: Path, make_tar: Callable[..., Path], cut: int
) -> None:
    path = make_tar(tmp_path / "00000.tar", [("a.jpg", b"a" * 3000), ("b.jpg", b"b" * 3000)])
    path.write_bytes(bytes(cut) + path.read_bytes()[cut:])
    source = source_of(tmp_path)
    assert "a" not in [s.member for s in list(source.samples())] and source.damage


@pytest.mark.parametrize("name", ["00000.tgz", "00000.tar.gz", "00000.TAR.GZ"])
def test_a_compressed_tar_is_named_with_the_way_out(tmp_path: Path, make_tar: Callable[..., Path], name: str) -> None:
    data = make_tar(tmp_path / "plain", [("a.jpg", b"x")]).read_bytes()
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / name).write_bytes(gzip.compress(data))
    with pytest.raises(UserError, match="gzip.*gzip -dc .* > .*00000.tar") as caught:
        list_sources(Corpus(name="c", path=str(tmp_path / "corpus")))
    assert "\n" not in str(caught.value)
    (tmp_path / "corpus/00001.tar").write_bytes(gzip.compress(data))
    listing = list_sources(Corpus(name="c", path=str(tmp_path / "corpus")))
    assert len(listing.notes) == 1 and name in listing.notes[0]
    (source,) = listing.sources
    assert list(source.samples()) == [] and source.damage and "compressed with gzip" in source.damage


def test_shards_whose_names_differ_only_in_unicode_form_are_refused(
    tmp_path: Path, make_tar: Callable[..., Path]
) -> None:
    for form in ("NFC", "NFD"):
        make_tar(tmp_path / f"{unicodedata.normalize(form, 'café')}.tar", [("a.jpg", b"x")])
    with pytest.raises(UserError, match="two shards are named caf.: .*tar and .*tar; rename one"):
        list_sources(Corpus(name="c", path=str(tmp_path)))
