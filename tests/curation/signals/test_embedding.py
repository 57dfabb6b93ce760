"""Signal embedding over a real stage, and the heads that read what it has stored."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from curation.errors import UserError
from curation.images import Picture
from curation.models.checkpoints import Models
from curation.models.vision.clip import Clip, ClipCheckpoint
from curation.recipe import Recipe
from curation.scoring.stage import plan
from curation.selection.stage import Selection
from curation.signals.base import make_signal
from curation.views.query import run_query
from tests import bench, checkpoints

SIGNALS: dict[str, Any] = {
    "embedding": {"checkpoint": "tiny"},
    "aesthetic": {"backend": "head", "checkpoint": "head.safetensors"},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    checkpoints.open_clip_folder(folder / "tiny")
    checkpoints.open_clip_folder(folder / "other", seed=5)
    for name, seed in (("head", 1), ("other-head", 2)):
        made = torch.Generator().manual_seed(seed)
        save_file({"weight": torch.randn(1, 32, generator=made), "bias": torch.ones(1)}, folder / f"{name}.safetensors")
    save_file({"weight": torch.full((1, 32), torch.nan)}, folder / "nan.safetensors")
    save_file({"weight": torch.zeros(1, 768), "bias": torch.ones(1)}, folder / "wide.safetensors")
    return folder


def corpus(folder: Path, count: int = 5) -> Path:
    members = {f"{n}.jpg": bench.encoded(bench.picture(n, (300 + 40 * n, 200))) for n in range(count)}
    bench.write_tar(folder / "raw" / "00000.tar", members | {"9.jpg": members["0.jpg"][:2000]})
    return folder


def made(folder: Path, models: Path, **values: Any) -> Recipe:
    return bench.recipe(folder, **{"models": str(models), "signals": SIGNALS} | values)


def sidecar(recipe: Recipe, name: str) -> pa.Table:
    return pq.read_table(Path(recipe.workspace) / "signals" / name / "c" / "00000.parquet")


def test_the_stage_stores_what_the_model_gives(tmp_path: Path, models: Path) -> None:
    recipe = made(corpus(tmp_path), models)
    bench.index(recipe)
    assert bench.score(recipe) == 6
    stored = sidecar(recipe, "embedding")
    assert stored.schema.field("embedding").type == pa.list_(pa.float16(), 32)
    clip = Clip(ClipCheckpoint("", None, models / "tiny"), "cpu")
    head = make_signal("aesthetic", SIGNALS["aesthetic"], Models(models))
    for n, row in enumerate(stored.to_pylist()[:5]):
        picture = Picture(bench.encoded(bench.picture(n, (300 + 40 * n, 200))))
        (expected,) = clip.images([picture.bgr(84)])
        assert (np.array(row["embedding"], np.float16) == expected.astype(np.float16)).all()
        aesthetic = sidecar(recipe, "aesthetic")["aesthetic"][n].as_py()
        assert aesthetic == pytest.approx(head.head.score(expected.astype(np.float16)), abs=1e-4)  # type: ignore[attr-defined]
    assert stored["embedding"][5].as_py() is None  # a picture that ends early


def test_the_columns_are_there_for_queries_and_the_vector_only_by_name(tmp_path: Path, models: Path) -> None:
    recipe = made(corpus(tmp_path), models)
    bench.index(recipe)
    bench.score(recipe)
    columns, rows, _ = run_query(bench.opened(recipe), "select * from images", 10)
    assert "aesthetic" in columns and "embedding" not in columns and len(rows) == 6
    _, rows, _ = run_query(
        bench.opened(recipe), "select embedding, aesthetic from images where aesthetic is not null", 10
    )
    assert len(rows) == 5 and len(rows[0][0]) == 32


def test_another_head_recomputes_no_embedding(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = made(corpus(tmp_path), models)
    bench.index(recipe)
    bench.score(recipe)
    before, old = sidecar(recipe, "embedding"), sidecar(recipe, "aesthetic")
    monkeypatch.setattr(Clip, "images", lambda *_: pytest.fail("an embedding was computed again"))
    head = {"backend": "head", "checkpoint": "other-head.safetensors"}
    changed = made(tmp_path, models, signals=SIGNALS | {"aesthetic": head})
    todo = plan(bench.opened(changed))
    assert list(todo.reasons) == ["aesthetic.parameters.checkpoint: head.safetensors → other-head.safetensors; "
                                  "aesthetic.models.head.safetensors is gone; aesthetic.models.other-head.safetensors is new"]  # fmt: skip
    bench.score(changed)
    assert sidecar(changed, "embedding").equals(before)
    assert not sidecar(changed, "aesthetic").equals(old)


def test_another_model_recomputes_the_embedding_and_what_reads_it(tmp_path: Path, models: Path) -> None:
    recipe = made(corpus(tmp_path), models)
    bench.index(recipe)
    bench.score(recipe)
    before, old = sidecar(recipe, "embedding"), sidecar(recipe, "aesthetic")
    changed = made(tmp_path, models, signals=SIGNALS | {"embedding": {"checkpoint": "other"}})
    bench.score(changed)
    assert not sidecar(changed, "embedding").equals(before) and not sidecar(changed, "aesthetic").equals(old)


def test_a_score_that_is_no_number_fails_its_row_and_never_passes(tmp_path: Path, models: Path) -> None:
    recipe = made(corpus(tmp_path), models, select={"where": {"beauty": "aesthetic >= 0 or aesthetic < 0"}},
                  signals=SIGNALS | {"aesthetic": {"backend": "head", "checkpoint": "nan.safetensors"}})  # fmt: skip
    bench.index(recipe)
    bench.score(recipe)
    assert set(sidecar(recipe, "aesthetic")["aesthetic_error"].to_pylist()[:5]) == {"not_finite: the score is nan"}
    funnel = Selection(bench.opened(recipe)).funnel()
    assert (funnel.failed, funnel.kept, funnel.dropped["beauty"]) == (1, 0, 5)


def test_a_predicate_may_read_the_vector(tmp_path: Path, models: Path) -> None:
    first = made(corpus(tmp_path), models, select={"where": {"known": "embedding[1] > -2"}})
    bench.index(first)
    bench.score(first)
    funnel = Selection(bench.opened(first)).funnel()
    assert (funnel.failed, funnel.kept, funnel.dropped) == (1, 5, {"known": 0})
    assert sidecar(first, "aesthetic")["aesthetic"].null_count == 1


def test_rows_are_balanced_by_a_text_column_that_no_predicate_reads(tmp_path: Path, models: Path) -> None:
    category = {"backend": "zero_shot", "prompts": {"one": "a photo", "two": "a drawing"}}
    for by in ("category", "format"):
        balanced = made(corpus(tmp_path), models, signals=SIGNALS | {"category": category},
                        select={"balance": {"by": by, "at_most": 1}})  # fmt: skip
        bench.index(balanced)
        bench.score(balanced)
        funnel = Selection(bench.opened(balanced)).funnel()
        assert funnel.balance == 5 - funnel.kept > 0, by


@pytest.mark.parametrize(("given", "says"), [
    ({"embedding": {"checkpoint": "tinny"}}, r"signals.embedding.checkpoint: no tinny in .*; did you mean \"tiny\"\?; `curate doctor`"),
    ({"embedding": {}}, "signals.embedding.checkpoint: field required"),
    ({"embedding": {"checkpoint": " "}}, "signals.embedding.checkpoint: names no checkpoint"),
    (SIGNALS | {"aesthetic": {"backend": "head", "checkpoint": "tiny"}},
     "signals.aesthetic.checkpoint: .*tiny is a folder; name the file of weights in it"),
    ({"embedding": {"checkpoint": "tiny", "model": "ViT-B-32"}}, 
     r"does not fit ViT-B-32: positional_embedding is \[77, 32\], expected \[77, 512\]"),
    ({"embedding": {"checkpoint": "tiny/open_clip_model.safetensors"}},
     "open_clip_model.safetensors is weights alone; add `model: NAME`"),
    ({"aesthetic": {"backend": "laion_v2", "checkpoint": "head.safetensors"}}, "signals.aesthetic: reads the signal embedding"),
    (SIGNALS | {"aesthetic": {"backend": "head", "checkpoint": "wide.safetensors"}},
     "wide.safetensors reads embeddings of 768 numbers; those of signals.embedding have 32"),
])  # fmt: skip
def test_what_cannot_be_done_is_said_before_any_work(
    tmp_path: Path, models: Path, given: dict[str, Any], says: str
) -> None:
    bench.index(made(corpus(tmp_path), models, signals={}))
    with pytest.raises(UserError, match=says) as caught:
        plan(bench.opened(made(tmp_path, models, signals=given)))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "work" / "signals" / "embedding").exists()
