"""Accuracy on a labelled folder: `python -m tests.benchmarks.accuracy FOLDER`.

The folder holds img2dataset's tars and a long `labels.csv` (key, file, kind, field, value, source), as `../shared/corpus`
does. Runs the whole cascade's signals on every picture, without a predicate.
"""

import argparse
import csv
import tempfile
import unicodedata
from collections import defaultdict
from pathlib import Path
from typing import Any

from curation.query import run_query
from curation.recipe import load_recipe
from pipelines import stages

RECIPE = """
workspace: ./work
corpora: [{{name: c, path: "{folder}"}}]
signals: {{photo: {{}}, faces: {{}}, ocr: {{}}}}
max_failed_share: 1
"""


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.resolve()
    labels = read_labels(folder / "labels.csv")
    with tempfile.TemporaryDirectory() as temporary:
        (Path(temporary) / "recipe.yaml").write_text(RECIPE.format(folder=folder))
        recipe = load_recipe(Path(temporary) / "recipe.yaml")
        stages.index(recipe)
        print("\n".join(stages.score(recipe).lines()))
        columns, rows, _ = run_query(recipe, "select * from images", 10_000_000)
    images = {str(row["key"]).split("/")[-1]: row for row in (dict(zip(columns, r, strict=True)) for r in rows)}
    for line in (*faces(labels, images), *ocr(labels, images), *photo(labels, images)):
        print(line)


def read_labels(path: Path) -> dict[str, dict[str, str]]:
    """Values by field and image."""
    labels: dict[str, dict[str, str]] = defaultdict(dict)
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            labels[row["field"]][row["key"].split("/")[-1]] = row["value"]
    return labels


def faces(labels: dict[str, dict[str, str]], images: dict[str, dict[str, Any]]) -> list[str]:
    """Exact face counts."""
    truth = {key: int(value) for key, value in labels["face_count"].items()}
    wrong = {key: (n, images[key]["face_count"]) for key, n in truth.items() if images[key]["face_count"] != n}
    return [_share("faces: exact count", len(truth) - len(wrong), len(truth)),
            *(f"    {key}: {n} labelled, {found} found" for key, (n, found) in wrong.items())]  # fmt: skip


def ocr(labels: dict[str, dict[str, str]], images: dict[str, dict[str, Any]]) -> list[str]:
    """Mean normalised edit similarity of the text, and the worst five."""
    found = sorted((similarity(value, images[key]["text"] or ""), key) for key, value in labels["text"].items())
    if not found:
        return []
    mean = sum(value for value, _ in found) / len(found)
    lines = [f"ocr: mean edit similarity of {len(found)} transcriptions: {mean:.3f}"]
    return lines + [f"    {key}: {value:.2f}" for value, key in found[:5]]


def photo(labels: dict[str, dict[str, str]], images: dict[str, dict[str, Any]]) -> list[str]:
    """Borders, and blurred pictures against their sharp ones."""
    bordered = [key for key, value in labels["has_border"].items() if value == "1"]
    plain = [key for key in images if key not in bordered and images[key]["border_share"] is not None]
    pairs: dict[str, dict[str, str]] = defaultdict(dict)
    for key, name in labels["blur_pair"].items():
        pairs[name][labels["is_blurry"][key]] = key
    whole = [pair for pair in pairs.values() if {"0", "1"} <= pair.keys()]
    right = sum(images[p["0"]]["sharpness"] > images[p["1"]]["sharpness"] for p in whole)
    return [
        _share("borders: found", sum(images[k]["border_share"] > 0.02 for k in bordered), len(bordered)),
        _share("borders: false", sum(images[k]["border_share"] > 0.02 for k in plain), len(plain)),
        _share("sharpness: blur pairs in order", right, len(whole)),
    ]


def similarity(truth: str, read: str) -> float:
    """1 less the edit distance by the longer length; case, width forms and white space do not count."""
    a, b = (" ".join(unicodedata.normalize("NFKC", text).lower().split()) for text in (truth, read))
    if not a and not b:
        return 1.0
    previous = list(range(len(b) + 1))
    for i, left in enumerate(a, start=1):
        current = [i]
        for j, right in enumerate(b, start=1):
            current.append(min(previous[j] + 1, current[-1] + 1, previous[j - 1] + (left != right)))
        previous = current
    return 1 - previous[-1] / max(len(a), len(b))


def _share(what: str, part: int, whole: int) -> str:
    return f"{what}: {part} of {whole}" + (f" ({100 * part / whole:.1f} %)" if whole else "")


if __name__ == "__main__":
    main()
