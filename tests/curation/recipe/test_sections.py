"""The recipe: read into a typed object, or refused in one line that names the key."""

import json
from pathlib import Path
from typing import Any

import pytest

from curation.errors import UserError
from curation.printing import plain
from curation.recipe import Recipe, load_recipe
from curation.recipe.load import to_yaml
from curation.recipe.yaml_text import read_yaml, write_yaml
from tests import bench

FULL = """
name: my-set
workspace: ./work
workers: 2
corpora: [{name: web, path: ./raw, format: webdataset}]
signals:
  photo: {}
  caption:
select:
  where:
    size: min_side >= 512
    text: "text_lines = 0 or ocr_confidence >= 0.8"
  dedup: {near: 6, against: ./listed.parquet}
captions:
  captioner: {backend: describe}
  language: {zh: 0.25, en: 0.75}
annotation: {votes: 3}
shards: {samples_per_shard: 100, buckets: {area: 65536, step: 32}, quality: {where: min_side >= 1024}}
card: {pretty_name: 我的图集}
max_failed_share: 0.1
"""
LEAST = {"workspace": "./work", "corpora": [{"name": "web", "path": "./raw"}]}


def write(folder: Path, content: str | dict[str, Any], name: str = "my-set.yaml") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else write_yaml(content), encoding="utf-8")
    return path


def refusal(folder: Path, content: str | dict[str, Any], overrides: list[str] | None = None) -> str:
    """The one line that a recipe is refused with."""
    with pytest.raises(UserError) as caught:
        load_recipe(write(folder, content), overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_everything_is_read(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, FULL))
    assert recipe.name == "my-set" and recipe.workers == 2
    assert list(recipe.select.where) == ["size", "text"]
    assert recipe.signals == {"photo": {}, "caption": {}}
    assert recipe.captions.language == {"zh": 0.25, "en": 0.75}
    assert recipe.shards.buckets.step == 32
    assert recipe.card.pretty_name == "我的图集"


def test_defaults_and_a_name_from_the_file(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, LEAST, "My Set, 2nd.yaml"))
    assert recipe.name == "my-set-2nd"
    assert recipe.engine == "local" and recipe.max_failed_share == 0.05 and recipe.image_timeout == 60
    assert recipe.corpora[0].format == "webdataset"
    assert recipe.annotation.votes == 3 and recipe.shards.samples_per_shard == 1000
    assert recipe.captions.synthetic_share == 0.5 and recipe.captions.language == {"zh": 0.5, "en": 0.5}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The least recipe with one value set."""
    recipe: dict[str, Any] = read_yaml(write_yaml(LEAST))
    at = recipe
    *folders, last = path.split(".")
    for key in folders:
        at = at[int(key)] if isinstance(at, list) else at.setdefault(key, {})
    at[last] = value
    return recipe


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("signal", "signals"),
        ("corpora.0.fromat", "format"),
        ("select.were", "where"),
        ("select.dedup.nearr", "near"),
        ("captions.lang", "language"),
        ("shards.buckets.setp", "step"),
        ("shards.quality.were", "where"),
        ("card.licence", "license"),
        ("annotation.vote", "votes"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(tmp_path: Path, key: str, nearest: str) -> None:
    message = refusal(tmp_path, changed(key, 1))
    assert f'{key}: unknown key; did you mean "{nearest}"?' in message
    assert message.startswith(f"{tmp_path / 'my-set.yaml'}: ")


def test_an_unknown_key_like_none_is_refused_with_all(tmp_path: Path) -> None:
    assert "known: buckets, quality, samples_per_shard, strip_metadata" in refusal(tmp_path, changed("shards.zzz", 1))


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("workers", "many", "given: 'many'"),
        ("workers", 0, "given: 0"),
        ("workers", 1.5, "given: 1.5"),
        ("image_timeout", 0, "given: 0"),
        ("image_timeout", float("nan"), "nan"),
        ("engine", "spark", "'local'"),
        ("corpora", [], "corpora"),
        ("corpora", "raw", "given: 'raw'"),
        ("corpora.0.format", "zip", "webdataset"),
        ("corpora.0.name", "My Corpus", "given: 'My Corpus'"),
        ("corpora.0.name", "a/b", "given: 'a/b'"),
        ("name", "Größe", "given: 'Größe'"),
        ("signals", ["photo"], "given: ['photo']"),
        ("signals.photo", 3, "given: 3"),
        ("select.where", "min_side > 3", "given: 'min_side > 3'"),
        ("select.where.size", 512, "given: 512"),
        ("select.where.size", True, "given: True"),
        ("select.where.Size", "min_side > 3", '"Size" is not a name'),
        ("select.where.a b", "min_side > 3", '"a b" is not a name'),
        ("select.dedup.near", 7, "given: 7"),
        ("captions.synthetic_share", 1.5, "given: 1.5"),
        ("captions.synthetic_share", float("nan"), "nan"),
        ("captions.language", {"zh": 0.5, "en": 0.6}, "add up to 1"),
        ("captions.language", {"zh": 1.5, "en": -0.5}, "add up to 1"),
        ("captions.language", {"zh": 0.5}, "add up to 1"),
        ("captions.language", {"zh": float("nan"), "en": 0.5}, "add up to 1"),
        ("captions.language", {"de": 1}, "'zh' or 'en'"),
        ("annotation.votes", 0, "given: 0"),
        ("shards.samples_per_shard", 10_001, "given: 10001"),
        ("shards.strip_metadata", "perhaps", "given: 'perhaps'"),
        ("max_failed_share", 2, "given: 2"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(tmp_path: Path, key: str, value: Any, says: str) -> None:
    message = refusal(tmp_path, changed(key, value))
    assert says in message
    assert key.split(".")[0] in message.removeprefix(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "read"), [("on", "true"), ("No", "false"), ("1", "1"), ("null", "null"), ("1e3", None)]
)
def test_a_name_that_yaml_does_not_read_as_text_asks_for_quotes(tmp_path: Path, name: str, read: str | None) -> None:
    text = write_yaml(LEAST) + "select:\n  where:\n    size: min_side > 0\n    {}: min_side > 1\n"
    message = refusal(tmp_path, read_yaml(text.format(name)))
    if read is None:  # YAML 1.1 takes it for text: the name itself is what is wrong then
        assert f'"{name}" is not a name' in message
    else:
        assert f"select.where: YAML reads one of the names here as {read}, no text; put it in quotes" in message
    (tmp_path / "quoted.yaml").write_text(text.format("quoted"))
    load_recipe(tmp_path / "quoted.yaml")


@pytest.mark.parametrize("missing", ["workspace", "corpora"])
def test_a_missing_key_is_named(tmp_path: Path, missing: str) -> None:
    message = refusal(tmp_path, {k: v for k, v in LEAST.items() if k != missing})
    assert message.endswith(f"{missing}: field required")


def test_two_corpora_of_one_name_are_refused(tmp_path: Path) -> None:
    assert '"web" is used twice' in refusal(tmp_path, LEAST | {"corpora": LEAST["corpora"] * 2})


def workers_given(resources: dict[str, Any]) -> dict[str, Any]:
    """A recipe with the signals `ocr` and `caption`, and these resources."""
    return LEAST | {"signals": {"ocr": {}, "caption": {}}, "ray": {"resources": resources}}


def test_a_signal_is_no_stage_of_the_same_name(tmp_path: Path) -> None:
    stages = {"caption": {"cpus": 8, "gpus": 1}, "score": {"cpus": 2}}
    given = workers_given({"signals": {"ocr": {"cpus": 3}}, "stages": stages})
    resources = load_recipe(write(tmp_path, given)).ray.resources
    assert (resources.of_stage("caption").gpus, resources.of_stage("index").cpus) == (1, 1)
    assert (resources.of_signal("caption").gpus, resources.of_signal("caption").cpus) == (0, 2)
    assert resources.of_signal("ocr").cpus == 3


@pytest.mark.parametrize(
    ("resources", "says"),
    [
        ({"ocr": {"cpus": 1}}, '"ocr" belongs under signals: write ray.resources.signals.ocr'),
        ({"score": {"cpus": 1}}, '"score" belongs under stages: write ray.resources.stages.score'),
        ({"caption": {"gpus": 1}}, "write ray.resources.stages.caption, or for the signal of that name under signals"),
        ({"stage": {}}, 'ray.resources.stage: unknown key; did you mean "stages"?'),
        ({"signals": {"ocrr": {}}}, 'ray.resources.signals: "ocrr" is no signal of the recipe; did you mean "ocr"?'),
        ({"stages": {"scores": {}}}, 'ray.resources.stages: there is no stage "scores"; did you mean "score"?'),
        ({"stages": {"score": {"cpu": 1}}}, 'ray.resources.stages.score.cpu: unknown key; did you mean "cpus"?'),
    ],
)
def test_resources_stand_under_signals_or_stages(tmp_path: Path, resources: dict[str, Any], says: str) -> None:
    assert says in refusal(tmp_path, workers_given(resources))


def test_near_duplicates_need_the_hash(tmp_path: Path) -> None:
    assert "photo" in refusal(tmp_path, changed("select.dedup.near", 4))


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("workspace: ./w\nname: a\nname: b\n", 3, '"name" stands twice'),
        ("select:\n  where:\n    size: min_side > 3\n    size: min_side > 4\n", 4, '"size" stands twice'),
        ("workspace: [a, b\nname: c\n", 2, ""),
        ("workspace: ./w\n\tname: a\n", 2, ""),
        ("name: 'a\n", 2, ""),
        ("select:\n  where:\n    text: a: b\n", 3, ""),
    ],
)
def test_yaml_mistakes_name_their_line(tmp_path: Path, text: str, line: int, says: str) -> None:
    message = refusal(tmp_path, text)
    assert f"my-set.yaml: line {line}: " in message and says in message


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just text\n", "!!python/object/apply:os.getcwd []\n", "a: \x00\n"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    assert "my-set.yaml" in refusal(tmp_path, text)


def test_merge_keys_are_yaml_too(tmp_path: Path) -> None:
    text = "corpora:\n  - &web {name: web, path: ./raw}\n  - {<<: *web, name: more}\nworkspace: ./w\n"
    assert [c.name for c in load_recipe(write(tmp_path, text)).corpora] == ["web", "more"]


def test_a_missing_recipe_names_init(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such recipe; `curate init"):
        load_recipe(tmp_path / "none.yaml")


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("name: größe".encode("latin-1"))
    for path in (tmp_path, tmp_path / "latin.yaml"):
        with pytest.raises(UserError, match="cannot be read") as caught:
            load_recipe(path)
        assert "\n" not in str(caught.value)


def test_null_leaves_out_a_predicate_or_a_signal(tmp_path: Path) -> None:
    bench.recipe(
        tmp_path,
        signals={"photo": {}, "faces": None},
        select={"where": {"size": "min_side >= 8", "sharp": "sharpness > 3"}},
    )
    path = tmp_path / "recipe.yaml"
    assert list(load_recipe(path).signals) == ["photo", "faces"]  # in the file, nothing means the defaults
    recipe = load_recipe(path, ["select.where.sharp=null", "signals.faces=null"])
    assert (list(recipe.signals), list(recipe.select.where)) == (["photo"], ["size"])
    with pytest.raises(UserError, match='there is no "shrap" to leave out; did you mean "sharp"'):
        load_recipe(path, ["select.where.shrap=null"])


def test_overrides_replace_one_value_each(tmp_path: Path) -> None:
    overrides = [
        "select.where.size=min_side >= 256",
        "select.where.extra=caption = 'a=b' or caption like '%: %'",
        "shards.buckets.step = 8",
        "signals.photo={}",
        "captions.language={zh: 1, en: 0}",
        "captions.translator=null",
        "corpora=[{name: other, path: /data, format: folder}]",
    ]
    recipe = load_recipe(write(tmp_path, FULL), overrides)
    assert recipe.select.where == {
        "size": "min_side >= 256",
        "text": "text_lines = 0 or ocr_confidence >= 0.8",
        "extra": "caption = 'a=b' or caption like '%: %'",
    }
    assert recipe.shards.buckets.step == 8 and recipe.shards.buckets.area == 65536
    assert recipe.captions.language == {"zh": 1, "en": 0} and recipe.captions.translator is None
    assert recipe.corpora[0].path == "/data"


def test_an_override_makes_the_section_it_needs(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, LEAST), ["select.where.size=min_side > 9", "shards.quality.where=kept"])
    assert recipe.select.where == {"size": "min_side > 9"} and recipe.shards.quality.where == "kept"


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("shards.samples", 'shards.samples: unknown key; did you mean "samples_per_shard"?'),
        ("selct.where.x", 'selct: unknown key; did you mean "select"?'),
        ("workspace.deep", '"workspace" is not a section'),
        ("select.where.size.x", '"size" is not a section'),
        ("corpora.0.path", '"corpora" is not a section'),
    ],
)
def test_an_override_of_what_is_not_there_is_refused(tmp_path: Path, override: str, says: str) -> None:
    assert says in refusal(tmp_path, FULL, [f"{override}=1"])


@pytest.mark.parametrize("override", ["", "select.where.size", "=3", ".=3"])
def test_an_override_without_key_or_value_is_refused(tmp_path: Path, override: str) -> None:
    assert "--set" in refusal(tmp_path, FULL, [override])


def test_paths_are_relative_to_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path / "recipes", FULL + "models: ../models\n")
    monkeypatch.chdir(tmp_path / "elsewhere")
    recipe = load_recipe("../recipes/my-set.yaml")
    folder = tmp_path / "recipes"
    assert recipe.workspace == str(folder / "work")
    assert recipe.corpora[0].path == str(folder / "raw")
    assert recipe.select.dedup.against == str(folder / "listed.parquet")
    assert recipe.models == str(tmp_path / "models")


def test_home_and_environment_are_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("RAW", "/data/raw")
    monkeypatch.setenv("CURATE_MODELS", "/models")
    content = LEAST | {"workspace": "~/work", "corpora": [{"name": "web", "path": "$RAW/${RAW}-2"}]}
    recipe = load_recipe(write(tmp_path, content))
    assert recipe.workspace == "/home/somebody/work"
    assert recipe.corpora[0].path == "/data/raw/data/raw-2"
    assert recipe.models == "/models"


def test_a_corpus_may_be_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUCKET", "s3://bucket")
    for path in ("s3://bucket/raw", "$BUCKET/raw"):
        content = LEAST | {"corpora": [{"name": "web", "path": path}]}
        assert load_recipe(write(tmp_path, content)).corpora[0].path == "s3://bucket/raw"


@pytest.mark.parametrize("workspace", ["s3://bucket/work", "memory://work", "$BUCKET/work"])
def test_a_workspace_at_a_url_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workspace: str) -> None:
    monkeypatch.setenv("BUCKET", "s3://bucket")
    assert "must be a local or mounted folder" in refusal(tmp_path, LEAST | {"workspace": workspace})


def test_a_corpus_is_found_by_name(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, FULL))
    assert recipe.corpus("web") is recipe.corpora[0]
    with pytest.raises(UserError, match='did you mean "web"'):
        recipe.corpus("wb")


def test_a_recipe_comes_back_from_its_yaml(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, FULL))
    text = to_yaml(recipe)
    assert "我的图集" in text
    assert load_recipe(write(tmp_path, text, "other.yaml")) == recipe


def test_there_is_a_json_schema_that_names_every_key() -> None:
    schema = Recipe.model_json_schema()
    json.dumps(schema)
    assert set(schema["properties"]) == set(Recipe.model_fields)
    assert schema["additionalProperties"] is False
    assert set(schema["required"]) == {"name", "workspace", "corpora"}


def test_a_recipe_cannot_be_changed(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, FULL))
    with pytest.raises(ValueError):
        recipe.name = "other"


@pytest.mark.parametrize(("balance", "says"), [
    ({"at_most": 5}, "select.balance: give either `by` (a column or SQL expression) or `clusters`"),
    ({"by": "category", "clusters": 5, "at_most": 5}, "select.balance: give either `by`"),
    ({"by": "category"}, "select.balance: give either `at_most` (images of one group) or `total`"),
    ({"by": "category", "at_most": 5, "total": 9, "power": 1}, "select.balance: give either `at_most`"),
    ({"by": "category", "total": 9}, "select.balance: `total` goes with `power`, `shares` or both"),
    ({"by": "category", "at_most": 9, "power": 0.5}, "select.balance: `total` goes with `power`"),
    ({"clusters": 5, "total": 9, "shares": {"1": 0.5}}, "select.balance: `shares` are given by value"),
    ({"by": "category", "total": 9, "shares": {"a": 0.6, "b": 0.5}}, "select.balance: the shares add up to more than 1"),
    ({"by": "category", "total": 9, "shares": {"a": 1.5}}, "select.balance.shares.a: input should be less than or equal to 1"),
    ({"by": "category", "total": 9, "power": 2}, "select.balance.power: input should be less than or equal to 1"),
    ({"clusters": 1, "at_most": 5}, "select.balance.clusters: input should be greater than or equal to 2"),
    ({"by": "category", "at_most": 0}, "select.balance.at_most: input should be greater than or equal to 1"),
    ({"by": "category", "atmost": 5}, 'select.balance.atmost: unknown key; did you mean "at_most"?'),
])  # fmt: skip
def test_a_balance_that_means_nothing_is_refused(tmp_path: Path, balance: dict[str, Any], says: str) -> None:
    assert says in refusal(tmp_path, LEAST | {"select": {"balance": balance}})


def test_shares_are_named_as_values_are_written(tmp_path: Path) -> None:
    text = "{by: x, total: 9, shares: {true: 0.1, 3: 0.2, 2.5: 0.1, null: 0.3, No way: 0.1}}"
    recipe = load_recipe(write(tmp_path, write_yaml(LEAST) + f"select: {{balance: {text}}}"))
    assert recipe.select.balance is not None
    assert recipe.select.balance.shares == {"true": 0.1, "3": 0.2, "2.5": 0.1, "": 0.3, "No way": 0.1}
    assert load_recipe(write(tmp_path, to_yaml(recipe))).select.balance == recipe.select.balance


@pytest.mark.parametrize("name", ["dedup", "balance"])
def test_a_predicate_is_not_named_as_a_step(tmp_path: Path, name: str) -> None:
    assert f'"{name}" names a step of its own' in refusal(tmp_path, LEAST | {"select": {"where": {name: "width > 1"}}})


def test_what_is_nested_too_deep_is_refused(tmp_path: Path) -> None:
    for deep in ("[" * 2_000, "[" * 2_000 + "]" * 2_000, "{a: " * 2_000):
        with pytest.raises(UserError, match=r"my-set\.yaml: .{,200}$"):
            load_recipe(write(tmp_path, f"signals: {deep}"))
        with pytest.raises(UserError, match=r"my-set\.yaml: signals: .{,200}$"):
            load_recipe(write(tmp_path, LEAST), [f"signals={deep}"])


@pytest.mark.parametrize(
    ("yaml", "place"),
    [
        (r'workspace: "./a\ud800"', "workspace"),
        (r'workspace: "./a\0"', "workspace"),
        (r'corpora: [{name: web, path: "./\udfff"}]', "corpora.0.path"),
        (r'select: {where: {"a\ud800": "true"}}', r"select.where.a\ud800"),
        (r'select: {where: {a: "\ud800 = caption"}}', "select.where.a"),
    ],
)
def test_text_that_no_file_and_no_sql_can_hold_is_refused_with_its_key(tmp_path: Path, yaml: str, place: str) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe(write(tmp_path, yaml))
    assert f"my-set.yaml: {place}: holds half a character" in plain(str(caught.value))


def test_a_wrong_value_is_shown_by_its_beginning_alone(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"workers: .* \(given: 'x{98}…\)$"):
        load_recipe(write(tmp_path, LEAST | {"workers": "x" * 100_000}))
