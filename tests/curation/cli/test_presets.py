"""Recipes by name: each is loaded, indexed, scored and selected on the sample; every threshold says where it is from."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from curation.cli.first_recipe import sample_folder, write_recipe
from curation.cli.presets import PRESETS
from curation.errors import UserError
from curation.recipe import load_recipe
from curation.selection.stage import Selection
from tests import bench, checkpoints
from tests.command import curate
from tests.curation.cli.test_first_recipe import uncommented

TABLE_5 = {
    "web-256": ("min_side >= 128", "width::bigint * height >= 65536", "watermark < 0.5", "aesthetic >= 4.5"),
    "web-512": ("min_side >= 256", "width::bigint * height >= 262144", "watermark < 0.3", "aesthetic >= 5.5"),
    "web-1024": ("min_side >= 512", "width::bigint * height >= 1048576", "watermark < 0.1", "aesthetic >= 6.0"),
    "sft": ("min_side >= 512", "width::bigint * height >= 1048576", "watermark < 0.05", "aesthetic >= 6.5"),
}
"""The thresholds that differ between the stages of Mage-Flow."""
SAME = {"file": "length >= 1024", "shape": "aspect_ratio between 0.1 and 10", "safe": "unsafe <= 0.1",
        "text": "text_area_share <= 0.3", "regions": "text_lines <= 5"}  # fmt: skip
LARGE_ENOUGH = "select.where.area=width::bigint * height >= 65536"
"""The sample's pictures have less than 1024² pixels: with this the later predicates are reached all the same."""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, since that is where recipes are written."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(preset: str) -> Path:
    return write_recipe("my-set", {"webdataset": sample_folder()}, force=True, preset=preset)


@pytest.mark.parametrize("preset", TABLE_5)
def test_the_thresholds_are_those_of_the_table(preset: str) -> None:
    where = load_recipe(written(preset)).select.where
    size, area, unmarked, beauty = TABLE_5[preset]
    assert where.items() >= {"size": size, "area": area, "unmarked": unmarked, **SAME}.items()
    assert f"    # beauty: {beauty} " in written(preset).read_text()


@pytest.mark.parametrize("preset", PRESETS)
def test_every_predicate_says_on_its_line_where_it_is_from(preset: str) -> None:
    text = written(preset).read_text()
    assert text.count("\nsignals:") == text.count("\nselect:") == text.count("\ncaptions:") == 1
    lines = re.search(r"^  where:.*\n((?:    .*\n)+)", text, re.MULTILINE)
    assert lines is not None and "{{" not in text
    before = ""
    for line in lines[1].splitlines():
        if re.match(r"    (# )?[a-z]+: ", line):
            assert re.search(r"#.*(\[[12]\]|chosen|the paper's)", line.lstrip(" #") + before), line
        before = line
    for source in ("Kolors paper",) if preset == "kolors" else ("arXiv:2607.19064", "arXiv:2508.02324"):
        assert source in text


@pytest.mark.parametrize(("preset", "side"), [("kolors", 1024), ("web-256", 256), ("web-512", 512), ("sft", 1024)])
def test_the_product_is_laid_out_for_the_stage(preset: str, side: int) -> None:
    recipe = load_recipe(written(preset))
    assert recipe.shards.buckets.area == side**2 and recipe.shards.quality.where == f"min_side >= {side}"


@pytest.mark.parametrize(("preset", "more"), [
    ("web-512", {"words", "colour", "beauty", "agreement"}), ("kolors", {"safe"}),
])  # fmt: skip
def test_every_commented_line_may_be_used(tmp_path: Path, preset: str, more: set[str]) -> None:
    path = written(preset)
    before = set(load_recipe(path).select.where)
    text = path.read_text().replace("  aesthetic: {backend: photo_stats}", "  # of which one is enough")
    path.write_text(uncommented(text))
    models = checkpoints.open_clip_folder(tmp_path / "siglip-so400m").parent
    checkpoints.open_clip_folder(models / "clip-l14")
    save_file({"layers.weight": torch.ones(1, 32), "layers.bias": torch.ones(1)}, models / "aesthetic-v2-5.safetensors")
    cascade = bench.opened(load_recipe(path, [f"models={models}"])).cascade
    assert {p.name for p in cascade.predicates} == before | more
    assert "embedding" in cascade.signals and cascade.signals["aesthetic"].needs == ("embedding",)


@pytest.mark.slow
def test_each_is_scored_and_selected_on_the_sample(tmp_path: Path) -> None:
    runs = {preset: (preset, []) for preset in PRESETS}
    runs |= {f"{preset}, smaller": (preset, [LARGE_ENOUGH]) for preset in ("web-1024", "sft")}
    kept = {}
    for name, (preset, changed) in runs.items():
        # one workspace: what one recipe has scored, the next need not
        recipe = load_recipe(written(preset), [f"workspace={tmp_path}/work", *changed])
        bench.index(recipe)
        bench.score(recipe)
        funnel = Selection(bench.opened(recipe)).funnel()
        assert not funnel.undecided and set(funnel.dropped) == set(recipe.select.where), name
        gone = funnel.failed + sum(funnel.dropped.values()) + sum(funnel.duplicate.values())
        assert funnel.input == 54 == gone + funnel.kept, name
        kept[name] = funnel.kept
    assert 15 <= kept["kolors"] <= 40
    assert kept["web-256"] > kept["web-512"] > kept["web-1024, smaller"] >= kept["sft, smaller"] > 5
    assert kept["web-1024"] == kept["sft"] == 0  # no picture of the sample has a megapixel


@pytest.mark.parametrize(("name", "hint"), [
    ("web-521", '; did you mean "web-512"?'), ("Kolors", '; did you mean "kolors"?'),
    ("xyz", "; known: kolors, sft, web-1024, web-256, web-512"),
])  # fmt: skip
def test_an_unknown_preset_is_one_line_with_the_nearest(here: Path, name: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        written(name)
    assert str(caught.value) == f'--preset: there is no preset "{name}"{hint}' and list(here.iterdir()) == []


def test_the_command_writes_one_and_shows_an_example(here: Path) -> None:
    curate("init", "a", "--webdataset", str(sample_folder()), "--preset", "sft", cwd=here)
    assert load_recipe(here / "a.yaml").select.where["unmarked"] == "watermark < 0.05"
    assert "--preset web-512" in " ".join(curate("init", "--help", cwd=here).stdout.split())
    refused = curate("init", "b", "--webdataset", str(sample_folder()), "--preset", "stf", cwd=here, status=2)
    assert refused.stderr.splitlines() == ['curate: --preset: there is no preset "stf"; did you mean "sft"?']
