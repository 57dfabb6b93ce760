"""The summary of a stage in words."""

from pipelines.summary import Summary


def test_one_is_told_in_the_singular() -> None:
    summary = Summary("build-shards", shards=1, done=1, rows=1, seconds=5.0)
    summary.more = {"products": {"concept": {"images": 1, "shards": 1}, "quality": {"images": 0, "shards": 0}}}
    assert summary.lines() == [
        "build-shards: 1 of 1 shard done, 1 row in 5.0 s, 0.2/s",
        "  products: concept 1 image in 1 shard, quality none, as it holds what people voted Level 5 (`curate annotate import`)",
    ]


def test_too_many_failed_rows_are_told_with_the_numbers() -> None:
    summary = Summary("index", shards=1, done=1, rows=9)
    summary.judge(2, 9, 0.05)
    assert not summary.ok and summary.lines()[-1] == (
        "  TOO MANY FAILED: 22.2% of the rows failed, max_failed_share allows 5.0%; the other rows are done, and the exit"
        " status is 1"
    )
    summary.judge(0, 0, 0.0)
    assert summary.ok
