"""Plug-ins of installed packages: found by their entry points, and imported only when they are asked for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from curation import extensions
from curation.captions.base import captioners, load_captioner, make_captioner
from curation.corpora.listing import list_sources
from curation.errors import UserError
from curation.recipe.sections import Corpus
from curation.signals.base import make_signal, owner_of_column, signal_backends, signal_names
from tests import bench, plugins
from tests.command import environment, process

GREEN = """
import pyarrow as pa
from curation.signals.base import PerImage

class Green(PerImage):
    name = "green"
    version = 1
    side = 64
    columns = {"green": pa.float32()}

    def score_one(self, row):
        return {"green": float(row.picture.bgr(64)[:, :, 1].mean())}
"""
LINES = """
from curation.corpora.readers import RawSample, Source

class Lines(Source):
    name = "lines"
    ending = ".lines"

    def samples(self):
        yield RawSample("a", 0, b"")
"""


@pytest.fixture(autouse=True)
def anew():  # type: ignore[no-untyped-def]
    """What is known of signals is forgotten before and after."""
    for known in (signal_names, signal_backends):
        known.cache_clear()
    yield
    for known in (signal_names, signal_backends):
        known.cache_clear()


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, group: str, name: str, value: str, **modules: str) -> None:
    package = folder / f"{name}{len(list(folder.iterdir()))}"
    plugins.installed(package, package.name, {group: {name: value}}, **modules)
    monkeypatch.syspath_prepend(package)


def refusal(name: str) -> str:
    with pytest.raises(UserError) as caught:
        signal_backends(name)
    assert "\n" not in str(caught.value) and 'entry point "' in str(caught.value)
    return str(caught.value)


def test_an_installed_signal_is_one_like_all_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "curate.signals", "green", "green_module", green_module=GREEN)
    assert "green" in signal_names() and owner_of_column("green") == "green"
    assert make_signal("green", {}).columns.keys() == {"green"}
    bench.write_tar(tmp_path / "raw" / "00000.tar", {"0.jpg": bench.encoded(bench.picture(0))})
    made = bench.recipe(tmp_path, signals={"green": {}}, select={"where": {"green": "green >= 0.1"}})
    bench.index(made)
    bench.score(made)
    assert bench.rows(tmp_path / "work/signals/green/c/00000.parquet")[0]["green_state"] == "scored"


def test_nothing_is_imported_before_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "curate.signals", "never", "never_module", never_module="raise ValueError('no')")
    install(tmp_path, monkeypatch, "curate.captions", "never", "never_module")
    assert "never" in signal_names()
    make_signal("photo", {})
    make_captioner({"backend": "describe"})
    assert "never_module" not in sys.modules


def test_looking_for_them_imports_nothing() -> None:
    """The command line, and a recipe with a format of curate's own, do not even look."""
    code = "import sys, curation.cli; from curation.recipe.sections import Corpus; Corpus(name='c', path='.'); "
    code += "from curation import extensions; assert not extensions._installed.cache_info().currsize"
    subprocess.run([sys.executable, "-c", code], check=True, env=environment())


def test_a_mistake_of_a_package_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = "curate.signals"
    install(tmp_path, monkeypatch, group, "broken", "broken_module", broken_module="import nothing_of_that_name")
    install(tmp_path, monkeypatch, group, "empty", "empty_module", empty_module="name = 'empty'")
    install(tmp_path, monkeypatch, group, "one", "green_module:Green", green_module=GREEN)
    install(tmp_path, monkeypatch, group, "photo", "green_module")
    install(tmp_path, monkeypatch, group, "green", "green_module")
    install(tmp_path, monkeypatch, group, "green", "green_module")
    says = refusal("broken")
    assert 'entry point "broken" of curate.signals in broken' in says and "nothing_of_that_name" in says
    assert 'defines no Signal named "empty"' in refusal("empty")
    assert "name the module alone, green_module" in refusal("one")
    assert "taken by curation.signals.photo" in refusal("photo")
    assert refusal("green").count('entry point "green"') == 2


def test_a_captioner_is_found_and_a_translator_of_that_name_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(plugins.example(tmp_path))
    assert load_captioner("frame").__module__ == "curate_example.frame" and "frame" in captioners()


def test_a_reader_is_found_and_a_format_that_is_not_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, "curate.readers", "lines", "lines_module", lines_module=LINES)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.lines").touch()
    corpus = Corpus(name="c", path=str(tmp_path / "raw"), format="lines")
    assert [(s.shard, type(s).__name__) for s in list_sources(corpus).sources] == [("a", "Lines")]
    with pytest.raises(ValueError, match='there is no format "line"; did you mean "lines"'):
        Corpus(name="c", path=".", format="line")


@pytest.mark.parametrize(
    ("text", "says"),
    [("", 'defines a Source named "odd"'), (LINES.replace("lines", "odd").replace('".odd"', '""'), "its `ending`")],
)
def test_a_reader_that_is_none_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, says: str) -> None:
    from curation.corpora import readers

    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "odd.py").write_text(text)
    monkeypatch.setenv("CURATE_READERS", os.pathsep.join([str(tmp_path / "own")]))
    monkeypatch.setattr(readers, "__path__", [*readers.__path__, *extensions.own_folders("CURATE_READERS")])
    monkeypatch.delitem(sys.modules, "curation.corpora.readers.odd", raising=False)
    with pytest.raises(UserError, match=says):
        list_sources(Corpus(name="c", path=str(tmp_path), format="odd"))


def test_a_reader_of_another_version_reads_the_shard_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "curate.readers", "lines", "lines_module", lines_module=LINES)
    (tmp_path / "a.lines").touch()
    (source,) = list_sources(Corpus(name="c", path=str(tmp_path), format="lines")).sources
    before = source.stamp()
    type(source).version = 2
    assert source.stamp() != before


@pytest.mark.slow
def test_the_package_of_the_documentation_runs_the_whole_job(tmp_path: Path) -> None:
    site = plugins.example(tmp_path / "site")
    bench.write_tar(tmp_path / "raw" / "00000.tar",
                    {f"{n}.jpg": bench.encoded(bench.picture(n, (300, 200 + 50 * n))) for n in range(4)})  # fmt: skip
    made = {"signals": {"warmth": {}}, "select": {"where": {"warm": "warmth >= -1"}}, "workers": 1}
    bench.recipe(tmp_path, **made, captions={"captioner": {"backend": "frame"}, "translator": None})
    path = os.pathsep.join([str(plugins.EXAMPLE.parents[1]), str(site)])
    process("run", "recipe.yaml", cwd=tmp_path, PYTHONPATH=path)
    scores = bench.rows(tmp_path / "work/signals/warmth/c/00000.parquet")
    assert all(-1 <= row["warmth"] <= 1 for row in scores) and len({row["warmth"] for row in scores}) == 4
    captions = [row["caption_en"] for row in bench.rows(tmp_path / "work/captions/c/00000.parquet")]
    assert captions[0] == "A horizontal picture of 300 by 200 pixels." and captions[2].startswith("A square picture")
