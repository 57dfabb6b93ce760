"""First steps: the demo's recipe, and a commented recipe for the user's own images."""

import re
from importlib import resources
from pathlib import Path

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


def write_recipe(name: str, folders: dict[str, Path], force: bool = False) -> Path:
    """Writes `NAME.yaml` for a corpus; returns its path.

    Args:
        name: name of the set.
        folders: the corpus's folder by its format; exactly one.
        force: whether to overwrite an existing recipe.

    Raises:
        UserError: the name is not valid, the folder is missing, or the recipe exists already.
    """
    if not re.fullmatch(r"[a-z0-9_-]+", name):
        raise UserError(f'"{name}" is not a name; use lower-case letters, digits, _ and -')
    if len(folders) != 1:
        raise UserError("give one of --images, --webdataset, --parquet and --files")
    kind, folder = next(iter(folders.items()))
    if not folder.expanduser().is_dir():
        raise UserError(f"no such folder: {folder}")
    path = Path(f"{name}.yaml")
    if path.exists() and not force:
        raise UserError(f"{path} is there already; choose another name, or overwrite it with --force")
    text = _template("own-images.yaml")
    for mark, value in {
        "NAME": name,
        "FOLDER": _quoted(str(folder.expanduser().resolve())),
        "FORMAT": kind,
        "FORMAT_SAYS": _FORMATS[kind],
    }.items():
        text = text.replace("{{" + mark + "}}", value)
    write_text(path, text)
    return path


def _template(name: str) -> str:
    return (Path(str(resources.files("pipelines"))) / "recipes" / name).read_text(encoding="utf-8")


def _quoted(text: str) -> str:
    """Returns a YAML double-quoted string, since a path may contain any character."""
    import json

    return json.dumps(text, ensure_ascii=False)
