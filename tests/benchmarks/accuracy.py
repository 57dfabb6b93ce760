"""Accuracy on a labelled folder: `python -m tests.benchmarks.accuracy [FOLDER]`; without one ../shared/corpus, or the sample.

The folder holds img2dataset's tars and a long `labels.csv` (key, file, kind, field, value, source), as `../shared/corpus`
does. Runs the signals that its labels say something about on every picture, without a predicate, and prints a table:
what was measured, on how many pictures or pairs, and what was to be reached; then the same on copies made of its photos.
What the folder has no labels for is left out; what is not labelled counts as unknown, or, where a line says "the rest",
as not being so.
"""

import argparse
import sys
import tempfile
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from curation.cli.first_recipe import sample_folder
from curation.errors import StageError, UserError
from curation.recipe import load_recipe
from curation.recipe.yaml_text import write_yaml
from curation.views.query import run_query
from pipelines import stages
from tests import bench
from tests.benchmarks.accuracy_copies import NEAR, blurred, copied
from tests.benchmarks.measure import HEAD, Measure, share
from tests.copies import differing_bits
from tests.labelled import CORPUS, Labels, auc, group_leaders, read_labels

FRAMED, MARKED = 0.02, 0.5
"""Thresholds on border_share and watermark."""
MARK = "has_watermark"
SHOWN = 10
"""Pictures named below the table for each line."""

SIGNALS = {
    "photo": ("blur_pair", "is_blurry", "has_border", "near_dup_group", "exact_dup_group", "is_logo", "is_dark"),
    "faces": ("face_count", "face_count_min", "is_face_crop"),
    "ocr": ("text", "text_contains", "has_watermark"),
    "watermark": ("has_watermark",),
}
"""The labels that each signal is measured by."""

Images = Mapping[str, Mapping[str, Any]]
"""Columns by image."""


def main() -> None:
    """Prints the table. Exit status 2, and one line, if the folder is not such a one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=CORPUS if CORPUS.is_dir() else sample_folder())
    folder = parser.parse_args().folder.resolve()
    try:
        measures = list(measure(folder))
    except (UserError, StageError, ValueError) as error:
        print(f"accuracy: {error}", file=sys.stderr)
        sys.exit(2)
    print(HEAD)
    for found in measures:
        print(found.line())
    for found in measures:
        if found.wrong:
            print(f"\n{found.what}:")
            print("\n".join(f"    {name}" for name in found.wrong[:SHOWN]))
            if len(found.wrong) > SHOWN:
                print(f"    and {len(found.wrong) - SHOWN} more")


def measure(folder: Path) -> Iterator[Measure]:
    """All lines that the folder has labels for.

    Raises:
        ValueError: the folder or its labels.csv is missing, or is none; one line.
        UserError: its tars cannot be read.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    if not (folder / "labels.csv").is_file():
        raise ValueError(f"{folder}: has no labels.csv (key, file, kind, field, value, source)")
    labels = read_labels(folder / "labels.csv")
    signals = [name for name, fields in SIGNALS.items() if any(labels.get(f) for f in fields)]
    if not signals:
        raise ValueError(
            f"{folder / 'labels.csv'}: no field that is measured here; it has {', '.join(labels) or 'none'}"
        )
    images = score(folder, signals)
    if not any(name in images for of_field in labels.values() for name in of_field):
        raise ValueError(f"{folder / 'labels.csv'}: no key is that of a picture in the folder's tars")
    for lines in (faces, text, photo, duplicates, watermark, flags):
        yield from lines(labels, images)
    for made in (blurred, copied):
        yield from made(folder)


def score(folder: Path, signals: list[str]) -> Images:
    """The signals' columns of every picture that could be read."""
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "recipe.yaml"
        path.write_text(write_yaml({
            "workspace": "./work", "corpora": [{"name": "c", "path": str(folder)}], "max_failed_share": 1,
            "signals": {name: {} for name in signals},
        }))  # fmt: skip
        recipe = load_recipe(path)
        stages.index(bench.opened(recipe))
        stages.score(bench.opened(recipe))
        columns, rows, _ = run_query(
            bench.opened(recipe), "select * from images where status = 'ok' order by key", 10_000_000
        )
    found = [dict(zip(columns, row, strict=True)) for row in rows]
    return {str(row["key"]).split("/")[-1]: row for row in found}


def faces(labels: Labels, images: Images) -> Iterator[Measure]:
    """Counts of faces."""
    exact = _numbers(labels, "face_count")
    yield from share("faces: counted exactly", exact, lambda n: _get(images, n, "face_count") == exact[n],
                      say=lambda n: f"{n}: {exact[n]} labelled, {_get(images, n, 'face_count')} found")  # fmt: skip
    least = _numbers(labels, "face_count_min")
    yield from share("faces: at least as many found as the crowd has", least,
                      lambda n: (_get(images, n, "face_count") or 0) >= least[n],
                      say=lambda n: f"{n}: {least[n]} or more, {_get(images, n, 'face_count')} found")  # fmt: skip


def text(labels: Labels, images: Images) -> Iterator[Measure]:
    """What is read, beside transcriptions."""
    close = {name: similarity(value, _get(images, name, "text") or "") for name, value in labels["text"].items()}
    turned = {
        name: close[name] for field in ("rotation", "has_exif_orientation") for name in labels[field] if name in close
    }
    for what, found, reach in (
        ("ocr: mean edit similarity of whole transcriptions", close, 0.92),
        ("ocr: the same of lines and pictures that are turned", turned, None),
    ):
        if found:
            worst = sorted(found, key=lambda name: found[name])
            wrong = [f"{name}: {found[name]:.2f}" for name in worst if found[name] < 0.9]
            yield Measure(what, _mean(found.values()), f"{len(found)} pictures", reach, percent=False, wrong=wrong)
    parts = labels["text_contains"]
    yield from share("ocr: the given part of the text is read", parts,
                      lambda n: _words(parts[n]) in _words(_get(images, n, "text") or ""))  # fmt: skip


def photo(labels: Labels, images: Images) -> Iterator[Measure]:
    """Borders, and blurred pictures against their sharp ones."""
    framed = {name: images[name]["border_share"] > FRAMED for name in images if _has(images, name, "border_share")}
    bordered = [name for name, value in labels["has_border"].items() if value == "1"]
    if bordered:
        rest = [name for name in framed if name not in bordered]
        yield from share("borders: found", bordered, lambda n: framed.get(n, False), reach=0.9)
        yield from share("borders: found on the rest", rest, lambda n: framed[n], reach=0.02, at_most=True)
    pairs: dict[str, dict[str, str]] = defaultdict(dict)
    for name, pair in labels["blur_pair"].items():
        pairs[pair][labels["is_blurry"].get(name, "")] = name
    whole = {pair["0"]: pair["1"] for pair in pairs.values() if {"0", "1"} <= pair.keys()}
    yield from share("sharpness: pairs of sharp and blurred in order", whole, reach=1, unit="pairs", right=lambda n: (
        (_get(images, n, "sharpness") or 0) > (_get(images, whole[n], "sharpness") or 0)))  # fmt: skip


def duplicates(labels: Labels, images: Images) -> Iterator[Measure]:
    """Copies, near copies, and what must not be taken for one.

    Pictures labelled as near are not gated: among them are mirrored ones, other views of a thing, and half blacked out.
    """
    same = _distances(labels["exact_dup_group"], images, "sha256")
    yield from share("duplicates: pairs of equal bytes joined", same, lambda p: same[p] == 0, reach=1, unit="pairs")
    near = _distances(labels["near_dup_group"], images, "phash")
    yield from share(f"duplicates: pairs labelled as near, joined (near: {NEAR})", near, lambda p: near[p] <= NEAR,
                     unit="pairs", say=lambda p: f"{p[0]}, {p[1]}: {near[p]} bits apart")  # fmt: skip
    if labels["near_dup_group"]:
        joined, of = _unrelated_joined(group_leaders(labels), images)
        yield Measure(f"duplicates: unrelated pairs joined (near: {NEAR})", len(joined) / of, f"{len(joined)} of {of:,} pairs",
                      0, at_most=True, wrong=joined)  # fmt: skip


def watermark(labels: Labels, images: Images) -> Iterator[Measure]:
    """Marks found, and on the rest; a picture of which a mark was removed is neither."""
    marked = {name: images[name]["watermark"] >= MARKED for name in images if _has(images, name, "watermark")}
    labelled = [name for name, value in labels[MARK].items() if value == "1"]
    removed = [name for name in labels["watermark_removed"] if name in marked]
    if not labelled:
        return
    rest = [name for name in marked if name not in labelled and name not in removed]
    yield from share("watermark: found", labelled, lambda n: marked.get(n, False))
    yield from share("watermark: found on the rest", rest, lambda n: marked[n], at_most=True,
                      say=lambda n: f"{n}: {images[n]['watermark']:.2f} {images[n].get('watermark_kind')}")  # fmt: skip
    yield from share("watermark: found where one was removed, another may stay", removed, lambda n: marked[n])


def flags(labels: Labels, images: Images) -> Iterator[Measure]:
    """How well one column tells pictures with a label from those without: the area under the ROC curve."""
    unsure = labels["watermark_removed"]  # bears a mark or not, who knows
    for flag, column, sign in (
        ("is_blurry", "sharpness", -1), ("is_dark", "brightness", -1), ("is_logo", "entropy", -1),
        ("is_face_crop", "face_area_share", 1), (MARK, "watermark", 1),
    ):  # fmt: skip
        values = {name: sign * images[name][column] for name in images if _has(images, name, column)}
        given = {name: value for name, value in labels[flag].items() if name in values}
        yes = [values[name] for name, value in given.items() if value == "1"]
        no = [values[name] for name, value in given.items() if value == "0"]
        against = "labelled" if len(no) >= 3 else "the rest"
        if against == "the rest":
            no = [v for name, v in values.items() if given.get(name) != "1" and (flag != MARK or name not in unsure)]
        if yes and no:
            what = f"AUC: {flag} by {'low' if sign < 0 else 'high'} {column}, against {against}"
            yield Measure(what, auc(yes, no), f"{len(yes)} and {len(no)} pictures", percent=False)


def similarity(truth: str, read: str) -> float:
    """1 less the edit distance by the longer length; case, width forms and white space do not count."""
    a, b = _words(truth), _words(read)
    if not a and not b:
        return 1.0
    previous = list(range(len(b) + 1))
    for i, left in enumerate(a, start=1):
        current = [i]
        for j, right in enumerate(b, start=1):
            current.append(min(previous[j] + 1, current[-1] + 1, previous[j - 1] + (left != right)))
        previous = current
    return 1 - previous[-1] / max(len(a), len(b))


def _distances(groups: dict[str, str], images: Images, column: str) -> dict[tuple[str, str], int]:
    """Of all pairs within a group the bits between their hashes."""
    names: dict[str, list[str]] = defaultdict(list)
    for name, group in sorted(groups.items()):
        if _has(images, name, column):
            names[group].append(name)
    pairs = [pair for of_group in names.values() for pair in combinations(of_group, 2)]
    return {(a, b): differing_bits(images[a][column], images[b][column]) for a, b in pairs}


def _unrelated_joined(group: dict[str, str], images: Images) -> tuple[list[str], int]:
    """Pairs that no label relates and whose hashes are near, and the number of all unrelated pairs."""
    names = [name for name in images if _has(images, name, "phash")]
    hashes = np.array([images[name]["phash"] for name in names], np.uint64)
    joined, relations = [], 0
    for i, name in enumerate(names):
        same = [n for n in names[i + 1 :] if n in group and group[n] == group.get(name)]
        relations += len(same)
        for j in np.flatnonzero(np.bitwise_count(hashes[i + 1 :] ^ hashes[i]) <= NEAR).tolist():
            other = names[i + 1 + j]
            if other not in same:
                joined.append(
                    f"{name}, {other}: {differing_bits(images[name]['phash'], images[other]['phash'])} bits apart"
                )
    return joined, max(1, len(names) * (len(names) - 1) // 2 - relations)


def _numbers(labels: Labels, name: str) -> dict[str, int]:
    for picture, value in labels[name].items():
        if not value.isdigit():
            raise ValueError(f'labels.csv: {name} of {picture} is "{value}"; expected a number')
    return {picture: int(value) for picture, value in labels[name].items()}


def _words(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).lower().split())


def _has(images: Images, name: str, column: str) -> bool:
    return name in images and images[name].get(column) is not None


def _get(images: Images, name: str, column: str) -> Any:
    return images[name].get(column) if name in images else None


def _mean(values: Any) -> float:
    return sum(values) / len(values)


if __name__ == "__main__":
    main()
