"""First steps: the demo's recipe, and a commented recipe for the user's own images."""

import re
from importlib import resources
from pathlib import Path

from curation.cli.presets import find_preset, with_filters
from curation.cli.raw_folder import find_folder
from curation.errors import UserError
from curation.workspace.files import write_text

_FORMATS = {
    "folder": "any folder of images",
    "webdataset": "tars as img2dataset writes them",
    "parquet": "Parquet files with image bytes",
    "files": "img2dataset's files",
}


def sample_folder() -> Path:
    """Returns the folder of the sample corpus: about fifty freely licensed pictures, as img2dataset stores them."""
    return Path(str(resources.files("curation"))) / "sample"


def write_demo(folder: Path) -> Path:
    """Writes the demo's recipe and votes into a folder and returns the recipe's path."""
    text = _template("demo.yaml").replace("SAMPLE_FOLDER", str(sample_folder()))
    write_text(folder / "demo.yaml", text)
    write_text(folder / "votes.csv", (sample_folder() / "votes.csv").read_text(encoding="utf-8"))
    return folder / "demo.yaml"


def write_recipe(name: str, folders: dict[str, Path], force: bool = False, preset: str | None = None) -> Path:
    """Writes `NAME.yaml` for a corpus; returns its path.

    Args:
        name: name of the set.
        folders: the corpus's folder, or files in it, by its format; exactly one. See `find_folder`.
        force: whether to overwrite an existing recipe.
        preset: name of a published filter pipeline; None for the general recipe.

    Raises:
        UserError: the name is not valid, the folder is missing or holds something else, the recipe exists already, or
            there is no such preset.
    """
    if not re.fullmatch(r"[a-z0-9_-]+", name):
        raise UserError(f'"{name}" is not a name; use lower-case letters, digits, _ and -')
    if len(folders) != 1:
        raise UserError("give one of --images, --webdataset, --parquet and --files")
    kind, folder = next(iter(folders.items()))
    folder = find_folder(name, kind, folder)
    path = Path(f"{name}.yaml")
    if path.exists() and not force:
        raise UserError(f"{path} is there already; choose another name, or overwrite it with --force")
    text = _template("own-images.yaml")
    sides: dict[str, object] = {"BUCKET_AREA": 1024 * 1024, "QUALITY_SIDE": 512}
    if preset is not None:
        chosen = find_preset(preset)
        text = with_filters(text, _template(chosen.template))
        sides = {"BUCKET_AREA": chosen.side**2, "QUALITY_SIDE": chosen.side, "PRESET": preset, **chosen.marks}
    for mark, value in {
        **sides,
        "NAME": name,
        "FOLDER": _quoted(str(folder.resolve())),
        "FORMAT": kind,
        "FORMAT_SAYS": _FORMATS[kind],
    }.items():
        text = text.replace("{{" + mark + "}}", str(value))
    write_text(path, text)
    return path


def _template(name: str) -> str:
    return (Path(str(resources.files("pipelines"))) / "recipes" / name).read_text(encoding="utf-8")


def _quoted(text: str) -> str:
    """Returns a YAML double-quoted string, since a path may contain any character."""
    import json

    return json.dumps(text, ensure_ascii=False)
