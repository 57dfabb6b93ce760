"""The command itself, as a user runs it: exit status, one-line errors, JSON, and the whole job on the sample."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from curation.cli.first_recipe import sample_folder
from tests import bench, checkpoints
from tests.command import ROOT, curate, process, started


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `curate demo` has run."""
    folder = tmp_path_factory.mktemp("demo")
    done = process("demo", cwd=folder)
    (folder / "said.txt").write_text(done.stdout)
    return folder


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from curation.cli import main; sys.argv = ['curate', '--help']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'cv2', 'duckdb', 'ray', 'transformers', 'pyarrow', 'numpy', 'pandas', 'pydantic'}\n"
        "print('LOADED', sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "LOADED []" in done.stdout


@pytest.mark.parametrize("verb", ["demo", "init", "doctor", "index", "score", "select", "caption", "build-shards",
                                  "run", "query", "explain", "annotate import", "annotate learn"])  # fmt: skip
def test_every_verb_shows_an_example(verb: str, tmp_path: Path) -> None:
    assert f"Example: curate {verb}" in " ".join(curate(*verb.split(), "--help", cwd=tmp_path).stdout.split())


@pytest.mark.slow
def test_demo_makes_both_phases_with_cards(demo: Path) -> None:
    for phase in ("concept", "quality"):
        folder = demo / "demo/work/shards" / phase
        assert {"README.md", "index.parquet", "stats.json", "000000.tar", "000000.parquet"} <= {
            p.name for p in folder.iterdir()}  # fmt: skip
        assert json.loads((folder / "stats.json").read_text())["images"] >= 10
    card = (demo / "demo/work/shards/quality/README.md").read_text()
    assert "The votes were made by hand" in card


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["index", "score", "select", "caption", "build-shards", "status"])
def test_a_verb_with_nothing_to_do_imports_nothing_heavy(demo: Path, verb: str) -> None:
    code = (
        f"import sys; from curation.cli import main; sys.argv = ['curate', {verb!r}, 'demo/demo.yaml']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'ray', 'transformers', 'onnxruntime', 'pandas', 'huggingface_hub', 'rich'}\n"
        "print('LOADED', sorted(heavy & sys.modules.keys()))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=demo, env=environment, capture_output=True, text=True)
    assert "LOADED []" in done.stdout, done.stdout + done.stderr


@pytest.mark.slow
def test_demo_drops_what_the_sample_was_given_to_be_dropped(demo: Path) -> None:
    with open(sample_folder() / "labels.csv", newline="") as file:
        labels = [row for row in csv.DictReader(file)]
    rows = {
        r["key"]: r for s in ("00000", "00001") for r in bench.rows(demo / f"demo/work/selection/sample/{s}.parquet")
    }

    def keys(field: str, value: str | None = None) -> list[str]:
        found = [r for r in labels if r["field"] == field and value in (None, r["value"])]
        return [r["key"] if r["key"].startswith("sample/") else f"sample/{r['key'][:5]}/{r['key']}" for r in found]

    assert all(rows[key]["fate"] in ("failed", "dropped") for key in keys("is_corrupt", "true"))
    assert all(rows[key]["fate"] != "kept" for key in keys("is_blurry", "true"))
    assert all(rows[key]["dropped_by"] == "framed" for key in keys("has_border", "true"))
    groups = Counter(r["value"] for r in labels if r["field"] == "exact_dup_group")
    assert groups and all(n >= 2 for n in groups.values())
    for group in groups:
        kept = [key for key in keys("exact_dup_group", group) if rows[key]["fate"] == "kept"]
        assert len(kept) <= 1, group
    funnel = json.loads((demo / "demo/work/selection/funnel.json").read_text())["funnel"]
    assert funnel["input"] == len(rows) == 54
    assert sum(funnel["dropped"].values()) + sum(funnel["duplicate"].values()) + funnel["failed"] + funnel["kept"] == 54


@pytest.mark.slow
def test_demo_again_has_nothing_to_do_and_gives_the_same_bytes(demo: Path) -> None:
    before = bench.tree(demo / "demo/work")
    done = curate("demo", "--json", cwd=demo)
    stages = {s["stage"]: s for s in json.loads(done.stdout)["stages"]}
    assert [stages[s]["done"] for s in ("index", "score", "caption", "build-shards")] == [0, 0, 0, 0]
    assert bench.tree(demo / "demo/work") == before


@pytest.mark.slow
def test_two_demos_give_the_same_bytes(demo: Path, tmp_path: Path) -> None:
    curate("demo", "again", cwd=tmp_path)
    first, second = bench.tree(demo / "demo/work"), bench.tree(tmp_path / "again/work")
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


@pytest.mark.slow
def test_query_and_explain_after_the_demo(demo: Path) -> None:
    done = curate("query", "demo/demo.yaml", "select fate, count(*) n from images group by 1", "--json", cwd=demo)
    assert sum(row["n"] for row in json.loads(done.stdout)["rows"]) == 54
    kept = pq.read_table(demo / "demo/work/shards/quality/000000.parquet")["key"][0].as_py()
    story = json.loads(curate("explain", "demo/demo.yaml", kept, "--json", cwd=demo).stdout)
    assert list(story) == ["source", "signal photo", "signal caption", "signal faces", "signal ocr", "signal aesthetic",
                           "signal safety", "selection", "caption", "votes", "product concept", "product quality"]  # fmt: skip
    assert story["votes"]["level"] == 5


@pytest.mark.slow
def test_the_demo_scores_safety_and_reports_it_though_no_predicate_reads_it(demo: Path) -> None:
    done = curate("query", "demo/demo.yaml", "select unsafe from images where kept", "--json", cwd=demo)
    scores = [row["unsafe"] for row in json.loads(done.stdout)["rows"]]
    assert len(scores) > 30 and all(0 <= score < 0.5 for score in scores) and max(scores) > 0.02
    curate("report", "demo/demo.yaml", cwd=demo)
    page = (demo / "demo/work/report/index.html").read_text()
    assert '"other-unsafe": {"data"' in page
    assert "BSD-2-Clause" in (demo / "demo/work/shards/concept/README.md").read_text()


@pytest.mark.slow
def test_a_threshold_is_tried_without_writing(demo: Path) -> None:
    before = bench.tree(demo / "demo/work")
    done = curate(
        "select", "demo/demo.yaml", "--dry-run", "--json", "--set", "select.where.sharp=sharpness >= 25", cwd=demo
    )
    strict = json.loads(done.stdout)["funnel"]
    assert strict["dropped"]["sharp"] > 4 and strict["kept"] < 40
    assert bench.tree(demo / "demo/work") == before


@pytest.mark.slow
def test_ones_own_folder_from_init_to_shards(tmp_path: Path) -> None:
    for n in range(4):
        (tmp_path / "pics" / "sub").mkdir(parents=True, exist_ok=True)
        bench.picture(n, (640, 480)).save(tmp_path / "pics" / "sub" / f"图 {n}.png")
    (tmp_path / "pics" / "notes.jpg").write_text("<html>no picture</html>")
    curate("init", "mine", "--images", "pics", cwd=tmp_path)
    done = curate("run", "mine.yaml", "--json", cwd=tmp_path, status=1)  # one of five files failed: over 5 %
    stages = {s["stage"]: s for s in json.loads(done.stdout)["stages"]}
    assert stages["index"]["failed"] == {"not_an_image": 1} and stages["index"]["too_many_failed"]
    assert stages["build-shards"]["products"]["concept"]["images"] == 4
    keys = pq.read_table(tmp_path / "mine-work/shards/concept/000000.parquet")["key"].to_pylist()
    assert sorted(keys) == [f"mine/00000/sub/图 {n}.png" for n in range(4)]


@pytest.mark.parametrize(("arguments", "status", "says"), [
    (["index", "none.yaml"], 2, "none.yaml: no such recipe"),
    (["index"], 2, "Missing argument 'RECIPE'"),
    (["indx", "r.yaml"], 2, "No such command 'indx'"),
    (["index", "r.yaml", "--set", "select.dedup.neer=3"], 2, 'select.dedup.neer: unknown key; did you mean "near"?'),
    (["index", "r.yaml", "--set", "select.where.x=(select 1) = 1"], 2, "select.where.x: a subquery is not allowed"),
    (["index", "r.yaml", "--set", "corpora=[{name: c, path: ./none}]"], 2, "corpora.c.path: no such folder"),
    (["score", "r.yaml"], 2, "nothing is indexed yet; run `curate index RECIPE`"),
    (["select", "r.yaml"], 2, "nothing is indexed yet"), (["caption", "r.yaml"], 2, "nothing is indexed yet"),
    (["build-shards", "r.yaml"], 2, "nothing is indexed yet"), (["query", "r.yaml", "select 1"], 2, "nothing is indexed"),
    (["explain", "r.yaml", "c/0/0"], 2, "nothing is indexed yet"),
    (["annotate", "import", "r.yaml", "v.csv"], 2, "nothing is indexed yet"),
    (["init", "Bad Name", "--images", "."], 2, '"Bad Name" is not a name'),
    (["init", "x"], 2, "give one of --images, --webdataset"), (["init", "x", "--images", "none"], 2, "no such folder: none"),
])  # fmt: skip
def test_a_mistake_is_one_line_and_the_right_status(
    tmp_path: Path, arguments: list[str], status: int, says: str
) -> None:
    (tmp_path / "raw").mkdir()
    bench.recipe(tmp_path)
    done = curate(*(a.replace("r.yaml", "recipe.yaml") for a in arguments), cwd=tmp_path, status=status)
    assert says in " ".join(re.sub(r"[│╭╮╰╯─]", " ", done.stderr).split())
    if done.stderr.startswith("curate: "):
        assert done.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a job that has run by models, which are no longer there."""
    folder = tmp_path_factory.mktemp("finished")
    members = {f"{n}.jpg": bench.encoded(bench.picture(n, (400, 300))) for n in range(6)}
    bench.write_tar(folder / "raw" / "00000.tar", members)
    checkpoints.open_clip_folder(folder / "models" / "tiny")
    save_file({"weight": torch.ones(1, 32)}, folder / "models" / "head.safetensors")
    given: dict[str, dict[str, object]] = {"photo": {}, "faces": {}, "ocr": {}, "embedding": {"checkpoint": "tiny"}}
    given["aesthetic"] = {"backend": "head", "checkpoint": "head.safetensors"}
    given["safety"] = {"backend": "zero_shot", "unsafe": ["a weapon"], "safe": ["a house"]}
    select = {"where": {"beauty": "aesthetic > -100"}, "dedup": {"near": 2, "cosine": 1.0},
              "balance": {"clusters": 2, "at_most": 5}}  # fmt: skip
    bench.recipe(folder, models="./models", signals=given, select=select, workers=1)
    curate("run", "recipe.yaml", cwd=folder)
    (folder / "models").rename(folder / "away")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [
    ["query", "recipe.yaml", "select count(*) n from images where kept and aesthetic is not null"],
    ["explain", "recipe.yaml", "c/00000/1"], ["status", "recipe.yaml"], ["report", "recipe.yaml"],
    ["select", "recipe.yaml"], ["select", "recipe.yaml", "--dry-run", "--set", "select.where.beauty=aesthetic > 100"],
    ["build-shards", "recipe.yaml"],
])  # fmt: skip
def test_what_is_computed_is_read_where_the_models_are_not(finished: Path, arguments: list[str]) -> None:
    before = bench.tree(finished / "work")
    said = json.loads(curate(*arguments, "--json", cwd=finished).stdout)
    assert bench.tree(finished / "work") == before
    match arguments[0]:
        case "query":
            assert said["rows"] == [{"n": 6}]
        case "explain":
            assert {said[f"signal {name}"]["state"] for name in ("embedding", "aesthetic", "safety")} == {"scored"}
        case "status":
            assert [facts.get("done", 1) for facts in said["stages"].values()] == [1] * 5
            assert not any("left" in f and f["left"] or "stale" in f for f in said["stages"].values())
        case "select":
            assert said["funnel"]["kept"] == (0 if "--set" in arguments else 6) and not said["funnel"]["undecided"]


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "says"), [
    (["score", "recipe.yaml"], "signals.embedding.checkpoint: the folder of models"),
    (["run", "recipe.yaml"], "signals.embedding.checkpoint: the folder of models"),
    (["caption", "recipe.yaml"], "signals.embedding.checkpoint: the folder of models"),
    (["status", "recipe.yaml", "--set", "signals.embedding.checkpoint=other"],  # never scored with that one
     "signals.embedding.checkpoint: the folder of models"),
])  # fmt: skip
def test_nothing_is_computed_where_the_models_are_not(finished: Path, arguments: list[str], says: str) -> None:
    before = bench.tree(finished / "work")
    said = curate(*arguments, cwd=finished, status=2).stderr
    assert said.startswith(f"curate: recipe.yaml: {says}") and said.count("\n") == 1
    assert bench.tree(finished / "work") == before


@pytest.mark.slow
def test_another_model_of_the_same_name_makes_the_scores_stale(finished: Path, tmp_path: Path) -> None:
    checkpoints.open_clip_folder(tmp_path / "tiny", seed=5)
    save_file({"weight": torch.ones(1, 32)}, tmp_path / "head.safetensors")
    done = curate("status", "recipe.yaml", "--json", "--set", f"models={tmp_path}", cwd=finished)
    (reason,) = json.loads(done.stdout)["stages"]["score"]["left"]
    assert "embedding.models.open_clip_model.safetensors" in reason


@pytest.mark.parametrize(("arguments", "says"), [
    (["index", "r.yaml", "--set", "signals.photo.backend=new"], "signals.photo.backend: there is no"),
    (["index", "r.yaml", "--set", "select.where.x=sharpnes > 2"], "select.where.x: there is no column"),
    (["score", "r.yaml", "--set", "signals.faces={backend: yunet}"], "signals.faces.model: yunet"),
    (["index", "r.yaml", "--set", "corpora=[{name: c, path: ./none}]"], "corpora.c.path: no such folder"),
])  # fmt: skip
def test_a_mistake_in_the_recipe_names_its_file(tmp_path: Path, arguments: list[str], says: str) -> None:
    (tmp_path / "raw").mkdir()
    bench.recipe(tmp_path)
    done = curate(*(a.replace("r.yaml", "recipe.yaml") for a in arguments), cwd=tmp_path, status=2)
    assert done.stderr.startswith(f"curate: recipe.yaml: {says}") and done.stderr.count("\n") == 1


def test_one_bad_file_among_good_ones_loses_only_itself(tmp_path: Path) -> None:
    members = {f"{n:02d}.jpg": bench.encoded(bench.picture(n)) for n in range(30)}
    members["07.jpg"] = b"<!DOCTYPE html><html><body>404</body></html>"
    bench.write_tar(tmp_path / "raw" / "00000.tar", members)
    bench.recipe(tmp_path)
    said = json.loads(curate("index", "recipe.yaml", "--json", cwd=tmp_path).stdout)
    assert (said["images"], said["images_failed"], said["failed"]) == (30, 1, {"not_an_image": 1})


def test_doctor_looks_at_machine_and_recipe(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    bench.write_tar(tmp_path / "raw" / "00000.tar", {"a.jpg": bench.encoded(bench.picture(1))})
    bench.recipe(tmp_path, signals={"photo": {}, "faces": {}, "ocr": {}})
    found = {
        f["what"]: f for f in json.loads(curate("doctor", "recipe.yaml", "--json", cwd=tmp_path).stdout)["findings"]
    }
    assert {"python", "opencv", "gpu", "fonts", "disk", "packages", "corpora", "signals.faces"} <= found.keys()
    assert found["corpora"]["says"] == "c: 1 shard" and "pnet" in found["signals.faces"]["says"]


def test_a_cut_tar_is_status_1_and_what_is_before_the_cut_is_kept(tmp_path: Path) -> None:
    path = bench.write_tar(
        tmp_path / "raw" / "00000.tar", {f"{n}.jpg": bench.encoded(bench.picture(n)) for n in range(30)}
    )
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    bench.recipe(tmp_path)
    said = json.loads(curate("index", "recipe.yaml", "--json", cwd=tmp_path, status=1).stdout)
    assert 15 < said["images"] < 25 and "the tar ends early" in said["damaged"][0] and not said["ok"]


@pytest.mark.slow
def test_a_file_that_is_no_shard_or_cannot_be_read_costs_itself_and_the_run_goes_on(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    pictures = [bench.encoded(bench.picture(n)) for n in range(3)]
    rows = {"key": ["0", "1", "2"], "jpg": pictures, "caption": [f"picture {n}" for n in range(3)]}
    pq.write_table(pa.table(rows), tmp_path / "raw/00000.parquet")
    pq.write_table(pa.table({"license": ["x"]}), tmp_path / "raw/metadata.parquet")
    (tmp_path / "raw/broken.parquet").write_bytes(b"PAR1 and no more")
    bench.recipe(tmp_path, corpora=[{"name": "c", "path": "./raw", "format": "parquet"}])
    said = json.loads(curate("run", "recipe.yaml", "--json", cwd=tmp_path, status=1).stdout)
    assert [stage["stage"] for stage in said["stages"]] == ["index", "score", "select", "caption", "build-shards"]
    assert [line.split(":")[0] for line in said["stages"][0]["damaged"]] == ["c/broken", "c/metadata"]
    assert said["stages"][-1]["products"]["concept"]["images"] == 3


def test_a_run_of_which_nothing_could_be_indexed_is_status_1_and_says_why(tmp_path: Path) -> None:
    bench.write_tar(tmp_path / "raw" / "00000.tar", {"0.jpg": bench.encoded(bench.picture(0))})
    (tmp_path / "work").mkdir()
    (tmp_path / "work/samples").write_text("a file in the place of a folder")
    bench.recipe(tmp_path)
    said = json.loads(curate("run", "recipe.yaml", "--json", cwd=tmp_path, status=1).stdout)
    assert [stage["stage"] for stage in said["stages"]] == ["index", "score"] and not said["ok"]
    assert "cannot write" in said["stages"][0]["errors"][0] and "nothing is indexed" in said["stages"][1]["errors"][0]


@pytest.mark.slow
def test_a_raw_shard_that_changed_unseen_is_indexed_again_by_the_next_run(tmp_path: Path) -> None:
    pictures = [bench.encoded(bench.picture(n)) for n in range(2)]
    path = bench.write_tar(tmp_path / "raw" / "00000.tar", {f"{n}.jpg": data for n, data in enumerate(pictures)})
    bench.recipe(tmp_path)
    curate("index", "recipe.yaml", cwd=tmp_path)
    row = bench.rows(tmp_path / "work/samples/c/00000.parquet")[0]
    before, whole = path.stat(), path.read_bytes()
    with open(path, "r+b") as raw:  # the same size and time: the index alone cannot see it
        raw.seek(row["offset"] + 20)
        raw.write(b"x")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "photo changed" in curate("score", "recipe.yaml", cwd=tmp_path, status=None).stdout
    path.write_bytes(whole)  # the right file is back, and must not have failed for good
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    said = json.loads(curate("run", "recipe.yaml", "--json", cwd=tmp_path).stdout)
    assert said["stages"][0]["done"] == 1 and said["stages"][-1]["products"]["concept"]["images"] == 2


def test_counts_of_shards_that_are_gone_add_up(tmp_path: Path) -> None:
    for shard in range(3):
        bench.write_tar(tmp_path / "raw" / f"{shard:05d}.tar", {"a.jpg": bench.encoded(bench.picture(shard))})
    bench.recipe(tmp_path)
    curate("index", "recipe.yaml", cwd=tmp_path)
    for shard in (0, 1):
        (tmp_path / "raw" / f"{shard:05d}.tar").unlink()
    said = curate("index", "recipe.yaml", cwd=tmp_path).stdout
    assert "index: 2 of 3 shards done, 1 up to date" in said and "-" not in said.splitlines()[0]


@pytest.mark.slow
def test_a_job_that_is_killed_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    for shard in range(3):
        bench.write_tar(
            tmp_path / "raw" / f"{shard:05d}.tar",
            {f"{n}.jpg": bench.encoded(bench.picture(10 * shard + n, (900, 700))) for n in range(8)},
        )
    values = {"signals": {"photo": {}, "caption": {}, "faces": {}}, "select": {"dedup": {"near": 4}}}
    bench.recipe(tmp_path, **values)
    curate("run", "recipe.yaml", cwd=tmp_path)
    whole = bench.tree(tmp_path / "work")
    bench.recipe(tmp_path, workspace="./again", **values)
    for seconds in (1.5, 4.0, 6.5):
        job = started("run", "recipe.yaml", cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            job.wait(seconds)
        except subprocess.TimeoutExpired:
            job.kill()
            job.wait()
    curate("run", "recipe.yaml", cwd=tmp_path)
    again = bench.tree(tmp_path / "again")
    assert {k for k in whole if again.get(k) != whole[k]} == set() and again.keys() == whole.keys()


@pytest.mark.slow
@pytest.mark.parametrize(("delay", "sent", "ctrl_c"), [
    (0.0, signal.SIGINT, signal.SIG_DFL),  # while its workers are being started
    (0.1, signal.SIGINT, signal.SIG_DFL),
    (2.0, signal.SIGINT, signal.SIG_DFL),  # in the middle of a shard
    (2.0, signal.SIGTERM, signal.SIG_IGN),  # a background job of a shell, which ignores Ctrl-C
])  # fmt: skip
def test_ctrl_c_is_one_line_and_leaves_no_worker(
    tmp_path: Path, delay: float, sent: signal.Signals, ctrl_c: signal.Handlers
) -> None:
    pictures = 40 if delay > 1 else 12  # so many that it is not yet through them
    members = {f"{n}.jpg": bench.encoded(bench.picture(n, (900, 700))) for n in range(pictures)}
    bench.write_tar(tmp_path / "raw" / "00000.tar", members)
    bench.recipe(tmp_path, signals={"ocr": {}})
    curate("index", "recipe.yaml", cwd=tmp_path)
    job = started("score", "recipe.yaml", cwd=tmp_path, stderr=subprocess.PIPE,
                  preexec_fn=lambda: signal.signal(signal.SIGINT, ctrl_c))  # fmt: skip
    until = time.monotonic() + 60
    while not (tmp_path / "work" / ".running.json").exists() and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(delay)
    job.send_signal(sent)
    _, said = job.communicate(timeout=30)
    assert job.returncode == 130
    assert said.splitlines()[-1] == "curate: stopped; run the same command again to go on where it was"
    assert not [p for p in (tmp_path / "work").rglob("*.tmp")]
    curate("score", "recipe.yaml", cwd=tmp_path)  # the lock is free, and no worker writes any more
