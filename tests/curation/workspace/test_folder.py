"""The workspace's paths."""

from pathlib import Path

from curation.workspace import Workspace
from curation.workspace.files import write_text


def test_the_folder_contract() -> None:
    workspace = Workspace("/w")
    paths = {
        "samples/web/00001.parquet": workspace.samples("web", "00001"),
        "samples/web/files.parquet": workspace.folder_listing("web"),
        "signals/photo/web/00001.parquet": workspace.signal("photo", "web", "00001"),
        "signals/.wide/web/00001.parquet": workspace.wide("web", "00001"),
        "selection/web/00001.parquet": workspace.selection("web", "00001"),
        "captions/web/00001.parquet": workspace.captions("web", "00001"),
        "votes.parquet": workspace.votes,
        "decisions.parquet": workspace.decisions,
        "levels.parquet": workspace.levels,
        "shards/quality": workspace.product("quality"),
    }
    assert {str(p.relative_to("/w")): p for p in paths.values()} == paths


def test_shards_are_listed_sorted_without_the_listing(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert workspace.shards("web") == []
    for shard in ("00010", "00002", "files"):
        write_text(tmp_path / "samples" / "web" / f"{shard}.parquet", "")
    assert workspace.shards("web") == ["00002", "00010"]
