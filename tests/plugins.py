"""Installs packages with plug-ins for a test: files beside a `.dist-info` in a folder that is put on the path."""

import tomllib
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "docs" / "example-plugin"
"""The package that the documentation shows."""


def installed(folder: Path, name: str, points: dict[str, dict[str, str]], **modules: str) -> Path:
    """Writes a package as pip installs one; returns the folder, which is to be put on the path.

    Args:
        folder: the folder that stands for the site's.
        name: name of the package.
        points: entry points by group: name and value.
        modules: text of each module by name.
    """
    metadata = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [
        line
        for group, entries in points.items()
        for line in (f"[{group}]", *(f"{n} = {v}" for n, v in entries.items()))
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(text)
    return folder


def example(folder: Path) -> Path:
    """Installs the package of the documentation: its folder is linked, its entry points are those of its project."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    installed(folder, project["name"], project["entry-points"])
    (folder / "curate_example").symlink_to(EXAMPLE / "curate_example")
    return folder
