"""The sample, its captions by every captioner, and the sheet that does not tell whose is whose."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.annotation.caption_eval.files import CRITERIA
from curation.annotation.caption_eval.plan import plan
from curation.annotation.caption_eval.sample import SALT, draw
from curation.annotation.caption_eval.sheet import check_untouched
from curation.captions.stage import plan as plan_captions
from curation.errors import StageError, UserError
from curation.keys import key_hash
from curation.recipe import Recipe
from curation.tasks import Watch
from tests import bench, evaluated
from tests.misbehaving import ChatRequest, Server, ServerReply, completion, serving

PLAIN = {"captioner": {"backend": "describe"}}
ENGLISH = PLAIN | {"translator": None}
SIZE = {"where": {"size": "width >= 300"}}


def chat(ask: ChatRequest) -> ServerReply:
    """A model that captions pictures and translates."""
    if isinstance(ask.body["messages"][-1]["content"], str):
        return completion("木头长椅上坐着一只棕色的狗。")
    return completion(f"A brown dog sits on a wooden bench, says {ask.body['model']}.")


@pytest.fixture
def server():  # type: ignore[no-untyped-def]
    with serving(chat) as found:
        yield found


def endpoint(server: Server, **more: Any) -> dict[str, Any]:
    own = {"backend": "endpoint", "url": server.url, "model": "some/model", "wait": 0.01, "tries": 2}
    return {"captioner": own | more, "translator": own}


def evaluation(sample: int = 500, **captioners: Any) -> dict[str, Any]:
    return {"caption_eval": {"sample": sample, "captioners": captioners}}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Three shards of three pictures, of each of which the first is too small to be kept."""
    for shard in range(3):
        members = {f"{n}.jpg": bench.encoded(bench.picture(10 * shard + n, (200 + 100 * n, 300))) for n in range(3)}
        bench.write_tar(tmp_path / "raw" / f"0000{shard}.tar", members)
    return tmp_path


def files(made: Recipe) -> dict[str, bytes]:
    root = Path(made.workspace) / "caption_eval"
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*.parquet"))}


def test_the_sample_is_the_kept_images_with_the_lowest_hashes(corpus: Path) -> None:
    made = evaluated.selected(corpus, select=SIZE, **evaluation(4))
    sample = draw(bench.opened(made))
    kept = [f"c/0000{shard}/{n}" for shard in range(3) for n in (1, 2)]
    assert sample.keys == sorted(kept, key=lambda key: key_hash(key, SALT))[:4]
    assert (sample.kept, sample.notices) == (6, [])
    assert sorted(key for part in sample.parts for key in part.keys) == sorted(sample.keys)
    for part in sample.parts:
        keys = [row["key"] for row in bench.rows(corpus / f"work/samples/c/{part.shard}.parquet")]
        assert [keys[row] for row in part.rows] == list(part.keys)


def test_more_shards_only_add_to_the_sample(corpus: Path) -> None:
    made = evaluated.selected(corpus, select=SIZE, **evaluation(4))
    before = draw(bench.opened(made)).keys
    bench.write_tar(corpus / "raw" / "00009.tar", {"x.jpg": bench.encoded(bench.picture(99, (400, 300)))})
    after = draw(bench.opened(evaluated.selected(corpus, select=SIZE, **evaluation(4)))).keys
    assert [key for key in after if key in before] == before[: len(after) - ("c/00009/x" in after)]


def test_a_sample_larger_than_what_is_kept_is_all_of_it_and_says_so(corpus: Path) -> None:
    made = evaluated.selected(corpus, select=SIZE, **evaluation(500))
    assert len(draw(bench.opened(made)).keys) == 6
    assert plan(bench.opened(made), draw(bench.opened(made))).notices == [
        "caption_eval.sample asks for 500 images, kept: 6; all of them are taken"
    ]


def test_two_captioners_on_a_blind_sheet(corpus: Path, server: Server) -> None:
    own = {"zero": PLAIN, "remote": endpoint(server)}
    made = evaluated.selected(corpus, select=SIZE, **evaluation(**own))
    counts = evaluated.sheet(made)
    assert counts == {"images": 6, "captioners": 2, "captions": 12, "without_caption": 0}
    captions, sheet = evaluated.read_rows(made, "captions"), evaluated.read_rows(made, "sheet")
    assert [row["captioner"] for row in captions] == ["zero", "remote"] * 6
    assert {row["backend"] for row in captions} == {"describe", "endpoint"}
    by_item = {row["item"]: row for row in captions}
    assert len(by_item) == 12 and [row["image"] for row in sheet] == [n for n in range(1, 7) for _ in own]
    for row in sheet:
        assert {n: row[n] for n in ("key", "caption_en", "caption_zh", "image")} == {
            n: by_item[row["item"]][n] for n in ("key", "caption_en", "caption_zh", "image")
        }
        assert [row[name] for name in ("evaluator", *CRITERIA)] == [None] * 5
    assert by_item[sheet[0]["item"]]["length"] == sum("\u4e00" <= c <= "\u9fff" for c in sheet[0]["caption_zh"])
    names = [row for row in sheet if any(name in str(row.values()) for name in own)]
    assert names == [] and not {"captioner", "backend"} & set(sheet[0])


def test_the_order_of_captioners_is_shuffled_for_each_image(tmp_path: Path) -> None:
    bench.write_tar(tmp_path / "raw" / "00000.tar", {f"{n}.jpg": bench.encoded(bench.picture(n, (48, 32))) for n in range(40)})  # fmt: skip
    made = evaluated.selected(tmp_path, **evaluation(a=PLAIN, b=ENGLISH))
    evaluated.sheet(made)
    whose = {row["item"]: row["captioner"] for row in evaluated.read_rows(made, "captions")}
    first = [whose[row["item"]] for row in evaluated.read_rows(made, "sheet") if row["position"] == 1]
    assert len(first) == 40 and 10 <= first.count("a") <= 30


def test_a_rerun_asks_nothing_and_gives_the_same_bytes(corpus: Path, server: Server) -> None:
    made = evaluated.selected(corpus, select=SIZE, **evaluation(near=PLAIN, far=endpoint(server)))
    evaluated.sheet(made)
    before, asked = files(made), len(server.requests)
    assert plan(bench.opened(made), draw(bench.opened(made))).tasks == []
    evaluated.sheet(made)
    assert files(made) == before and len(server.requests) == asked == 12
    for path in (Path(made.workspace) / "caption_eval").rglob("*.parquet"):
        path.unlink()
    evaluated.sheet(made)
    assert files(made) == before and len(server.requests) == asked  # the answers are kept beside the captions


def test_what_the_stage_has_captioned_costs_nothing(corpus: Path, server: Server) -> None:
    made = evaluated.selected(corpus, select=SIZE, captions=endpoint(server))
    for task in plan_captions(bench.opened(made)).tasks:
        task.run(Watch())
    for path in (corpus / "work/captions/.answers").rglob("*.sqlite"):
        path.unlink()
    asked = len(server.requests)
    evaluated.sheet(made)
    assert len(server.requests) == asked == 12
    assert {row["captioner"] for row in evaluated.read_rows(made, "captions")} == {"endpoint"}


def test_another_captioner_is_all_that_a_rerun_asks(corpus: Path, server: Server) -> None:
    one = evaluated.selected(corpus, select=SIZE, **evaluation(near=PLAIN))
    evaluated.sheet(one)
    items = {row["item"] for row in evaluated.read_rows(one, "captions")}
    two = bench.recipe(corpus, select=SIZE, **evaluation(near=PLAIN, far=endpoint(server)))
    todo = plan(bench.opened(two), draw(bench.opened(two)))
    assert [task.captioners for task in todo.tasks] == [("far",)] * 3 and todo.reasons == {"no caption yet by far": 3}
    evaluated.sheet(two)
    assert items < {row["item"] for row in evaluated.read_rows(two, "captions")}


def test_a_caption_that_could_not_be_made_is_counted_and_tried_again(corpus: Path) -> None:
    def rule(ask: ChatRequest) -> ServerReply:
        return ServerReply(status=400) if ask.number < 3 else chat(ask)

    with serving(rule) as server:
        far = endpoint(server, concurrency=1) | {"attempts": 1}
        made = evaluated.selected(corpus, select=SIZE, **evaluation(near=PLAIN, far=far))
        first = evaluated.sheet(made)
        assert 0 < first["without_caption"] <= 3 and first["captions"] == 12 - first["without_caption"]
        assert evaluated.sheet(made) == {"images": 6, "captioners": 2, "captions": 12, "without_caption": 0}


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_on_worker_processes_the_bytes_are_the_same(corpus: Path, server: Server, workers: int) -> None:
    from pipelines.local import LocalEngine

    values = evaluation(near=PLAIN, english=ENGLISH, far=endpoint(server))
    made = evaluated.selected(corpus, select=SIZE, **values)
    evaluated.sheet(made)
    before = files(made)
    for path in (Path(made.workspace) / "caption_eval").rglob("*.parquet"):
        path.unlink()
    with LocalEngine(workers=workers) as engine:
        ended = list(engine.run(plan(bench.opened(made), draw(bench.opened(made))).tasks))
    assert [outcome.error for _task, outcome in ended] == [None] * 9
    order = [task.captioners[0] for task, _outcome in ended]
    if workers == 1:  # every shard goes through one captioner before any goes on to the next
        assert order == ["near"] * 3 + ["english"] * 3 + ["far"] * 3
    evaluated.sheet(made)
    assert files(made) == before


def test_a_sheet_that_was_filled_in_is_not_overwritten(corpus: Path) -> None:
    made = evaluated.selected(corpus, select=SIZE, **evaluation(near=PLAIN))
    check_untouched(bench.opened(made))
    evaluated.sheet(made)
    check_untouched(bench.opened(made))
    path = corpus / "work/caption_eval/sheet.parquet"
    table = pq.read_table(path)
    index = table.column_names.index("completeness")
    pq.write_table(table.set_column(index, "completeness", pa.array([5] + [None] * 5, pa.int8())), path)
    with pytest.raises(UserError, match=r"sheet\.parquet has been filled in.*caption-eval import"):
        check_untouched(bench.opened(made))


@pytest.mark.parametrize(("captioner", "says"), [
    ({"captioner": {"backend": "describ"}}, 'caption_eval.captioners.mine.captioner.backend: there is no captioner "describ"'),
    ({"captioner": {"backend": "describe", "max_txt": 1}}, "caption_eval.captioners.mine.captioner.max_txt: "),
    ({"translator": {"backend": "describe"}}, "caption_eval.captioners.mine.translator.backend: "),
])  # fmt: skip
def test_a_wrong_captioner_is_one_line_that_names_it(corpus: Path, captioner: dict, says: str) -> None:
    made = evaluated.selected(corpus, **evaluation(mine=captioner))
    with pytest.raises(UserError) as caught:
        plan(bench.opened(made), draw(bench.opened(made)))
    assert str(caught.value).startswith(says) and "\n" not in str(caught.value)


def test_nothing_indexed_selected_or_kept_is_one_line(corpus: Path) -> None:
    made = bench.recipe(corpus)
    with pytest.raises(UserError, match="nothing is indexed yet; run `curate index RECIPE`"):
        draw(bench.opened(made))
    bench.index(made)
    with pytest.raises(StageError, match="has no selection; run `curate select RECIPE`"):
        draw(bench.opened(made))
    none = evaluated.selected(corpus, select={"where": {"size": "width >= 9000"}})
    with pytest.raises(UserError, match="the selection keeps no image"):
        draw(bench.opened(none))


def test_a_signal_that_a_captioner_reads_must_be_scored_first(corpus: Path) -> None:
    evaluated.selected(corpus)
    made = bench.recipe(corpus, signals={"photo": {}, "ocr": {}})
    with pytest.raises(StageError, match="reads ocr, which is not scored; run `curate score RECIPE`"):
        evaluated.sheet(made)


def test_a_selection_that_changes_meanwhile_is_told(corpus: Path) -> None:
    made = evaluated.selected(corpus)
    tasks = plan(bench.opened(made), draw(bench.opened(made))).tasks
    narrower = evaluated.selected(corpus, select=SIZE)
    changed = [task for task in tasks if 0 in task.part.rows]
    with pytest.raises(StageError, match="run `curate select RECIPE`"):
        changed[0].run(Watch())
    assert plan(bench.opened(narrower), draw(bench.opened(narrower))).tasks


def test_captioners_that_gave_nothing_are_one_line(corpus: Path) -> None:
    with serving(lambda ask: ServerReply(status=400)) as server:
        made = evaluated.selected(corpus, select=SIZE, **evaluation(2, far=endpoint(server)))
        with pytest.raises(UserError, match="far captioned none of 2 images; the reasons are the flags in"):
            evaluated.sheet(made)
    assert not (corpus / "work/caption_eval/sheet.parquet").exists()
