"""What is told of the installed packages."""

from pathlib import Path

import pytest

from curation.models.environment import opencv_problem


def install(folder: Path, name: str, version: str) -> None:
    """A distribution as pip notes it."""
    noted = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    noted.mkdir(parents=True)
    (noted / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages that is the only one."""
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    return tmp_path


def test_the_headless_opencv_alone_is_right(installed: Path) -> None:
    install(installed, "opencv-python-headless", "4.14.0.1")
    assert opencv_problem() is None


def test_two_wheels_that_bring_the_same_module_are_told(installed: Path) -> None:
    install(installed, "opencv-python-headless", "4.14.0.1")
    install(installed, "opencv-contrib-python", "4.14.0.1")
    said = opencv_problem()
    assert said is not None and "opencv-contrib-python and opencv-python-headless overwrite each other" in said


def test_a_release_that_decodes_half_cut_jpegs_is_told(installed: Path) -> None:
    install(installed, "opencv-python", "4.13.0")
    assert opencv_problem() == (
        "OpenCV 4.13.0 takes half-cut JPEGs for good; install opencv-python-headless 4.14 or later"
    )


def test_without_opencv_the_wheel_is_asked_for(installed: Path) -> None:
    said = opencv_problem()
    assert said is not None and "install opencv-python-headless" in said
