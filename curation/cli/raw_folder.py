"""What the user points `curate init` at: a folder, a file in it or a range of tars, and whether it is what they say."""

import glob
import itertools
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from curation.counts import counted
from curation.errors import UserError, in_one_line

OPTIONS = {"folder": "--images", "webdataset": "--webdataset", "parquet": "--parquet", "files": "--files"}
"""The option of `curate init` by the corpus's format."""
_LOOKED_AT = 20_000
"""Number of files by which a folder is judged."""
_OPENED = 50
"""Number of files without the ending of an image that are opened."""


@dataclass
class _Contents:
    """What the first files below a folder are."""

    images: int = 0
    nested: int = 0
    """Number of the images that lie in a folder below."""
    tars: int = 0
    packed: Path | None = None
    """A compressed tar."""
    table: Path | None = None
    """A Parquet file."""
    others: Counter[str] = field(default_factory=Counter)
    """Number of files of no such kind, by ending."""
    by_img2dataset: bool = False
    """Whether a folder has img2dataset's table or statistics of the same name beside it."""


def find_folder(name: str, kind: str, given: Path) -> Path:
    """Returns the folder of the corpus that the user means.

    Args:
        name: the name of the set, for the command that a message proposes.
        kind: the format that the user says the corpus has, a key of OPTIONS.
        given: a folder, one file in it, or tars by a range in braces (`data/{00000..00041}.tar`) or by wildcards.

    Raises:
        UserError: there is no such folder or file, a part of a folder's shards is meant, or the folder holds what
            another option reads, or nothing that any reads.
    """
    given = given.expanduser()
    folder = given if given.is_dir() else _folder_of(given)
    contents = _look(folder)
    columns = _columns(contents.table)
    fits = {
        "webdataset": contents.tars > 0,
        "parquet": columns is not None and any(columns.values()),
        "files": contents.nested > 0 if kind == "files" else contents.by_img2dataset and contents.images > 0,
        "folder": contents.images > 0 and not contents.by_img2dataset,
    }
    if not fits[kind]:
        says = {
            "webdataset": "holds tars",
            "parquet": "holds Parquet files with images",
            "files": "holds what img2dataset wrote as `files`",
            "folder": "holds image files",
        }
        better = next((other for other, it_fits in fits.items() if it_fits), None)
        if better:
            raise UserError(f"{folder} {says[better]}; run `curate init {name} {OPTIONS[better]} {folder}`")
        raise UserError(_why_nothing(folder, contents, columns))
    return folder


def _folder_of(given: Path) -> Path:
    """Returns the folder of the files that the user names. Raises UserError if one is missing, or more lie there."""
    files = _expanded(str(given))
    if files == [str(given)] and not given.exists():
        raise UserError(f"no such folder: {given}")
    missing = [file for file in files if not Path(file).is_file()]
    if missing or not files:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UserError(f"no such file: {missing[0] if missing else given}{more}")
    folders = {Path(file).parent for file in files}
    if len(folders) > 1:
        raise UserError(f"{given} lies in {counted(len(folders), 'folders')}; give one folder, with all below it")
    folder, ending = folders.pop(), Path(files[0]).suffix.lower()
    if ending in (".tar", ".parquet"):  # of images, the whole folder is meant
        asked = {Path(file).resolve() for file in files}
        others = [path for path in folder.rglob(f"*{ending}") if path.resolve() not in asked]
        if others:
            more = counted(len(others), f"more {ending} files")
            raise UserError(
                f"{folder} holds {more}, such as {others[0].name}, and a corpus is a whole folder; give {folder}, or"
                f" link the files into a folder of their own: mkdir part && ln -s {folder.resolve()}/… part/"
            )
    return folder


def _expanded(text: str) -> list[str]:
    """Returns the paths that a text with `{00000..00041}`, `{a,b}` or wildcards stands for; the text itself without."""
    parts = [_choices(part) for part in re.split(r"(\{[^{}]*\})", text)]
    paths = ["".join(choice) for choice in itertools.product(*parts)]
    if os.path.exists(text) or not any(glob.has_magic(path) for path in paths):
        return [text] if os.path.exists(text) else paths
    return sorted(found for path in paths for found in glob.glob(path))


def _choices(part: str) -> list[str]:
    if span := re.fullmatch(r"\{(\d+)\.\.(\d+)\}", part):
        first, last = int(span[1]), int(span[2])
        if last - first >= 1_000_000:
            raise UserError(f"{part} is a range of more than a million files; give their folder")
        width = max(map(len, span.groups())) if any(n.startswith("0") and len(n) > 1 for n in span.groups()) else 0
        return [f"{number:0{width}d}" for number in range(first, last + 1)]
    return part[1:-1].split(",") if part.startswith("{") and "," in part else [part]


def _look(folder: Path) -> _Contents:
    """Looks at the first files below a folder, those in hidden folders excepted."""
    from curation.corpora.readers import IMAGE_ENDINGS, SIDE_ENDINGS
    from curation.corpora.readers.compression import by_name

    contents, looked, opened = _Contents(), 0, 0
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if place == str(folder):
            tables = {name.removesuffix("_stats.json").removesuffix(".parquet") for name in names}
            contents.by_img2dataset = any(name in tables for name in folders)
        for name in sorted(name for name in names if not name.startswith(".")):
            path, ending = Path(place, name), Path(name).suffix[1:].lower()
            looked += 1
            if name.lower().endswith(".tar"):
                contents.tars += 1
            elif by_name(name):
                contents.packed = contents.packed or path
            elif name.lower().endswith(".parquet"):
                contents.table = contents.table or path
            elif ending in IMAGE_ENDINGS or (
                ending not in SIDE_ENDINGS and (opened := opened + 1) <= _OPENED and _begins_as_an_image(path)
            ):
                contents.images += 1
                contents.nested += place != str(folder)
            else:
                contents.others[f".{ending}" if ending else "no ending"] += 1
        if looked >= _LOOKED_AT:
            break
    return contents


def _begins_as_an_image(path: Path) -> bool:
    from curation.decoding.magic import HEAD, looks_like_an_image

    try:
        if not path.is_file():  # a pipe would block
            return False
        with path.open("rb") as file:
            return looks_like_an_image(file.read(HEAD))
    except OSError:
        return False


def _columns(table: Path | None) -> dict[str, bool] | None:
    """Returns a Parquet file's columns, and whether each may hold images; None without a file that can be read."""
    if table is None:
        return None
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(table)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{table}: cannot be read: {in_one_line(error)}") from None

    def binary(kind: pa.DataType) -> bool:
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    return {f.name: binary(f.type) or (pa.types.is_struct(f.type) and any(binary(i.type) for i in f.type))
            for f in schema}  # fmt: skip


def _why_nothing(folder: Path, contents: _Contents, columns: dict[str, bool] | None) -> str:
    """Returns why no option of `curate init` reads a folder."""
    if contents.packed is not None:
        return f"{contents.packed} is a compressed tar, which is not read; unpack it to a .tar first"
    if columns is not None:
        named = ", ".join(columns)
        return (
            f"{contents.table} holds no images (its columns: {named}); download them first, for instance by"
            " img2dataset, and give the folder that it writes"
        )
    if contents.others:
        kinds = ", ".join(f"{count:,} × {ending}" for ending, count in contents.others.most_common(5))
        return (
            f"{folder} holds no image, no tar and no Parquet file, but {kinds}; give the folder that holds the images"
        )
    return f"{folder} is empty; give the folder that holds the images"
