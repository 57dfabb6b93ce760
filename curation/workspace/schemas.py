"""The columns of every table in the workspace."""

import pyarrow as pa

CAPTIONS = pa.schema(
    {
        "key": pa.string(),
        "caption_en": pa.string(),
        "caption_zh": pa.string(),
        "translated": pa.bool_(),
        "flags": pa.list_(pa.string()),
        "captioner": pa.string(),
        "translator": pa.string(),
        "attempts": pa.int8(),
        "captioned_as": pa.string(),
        "prompt": pa.string(),
        "original_en": pa.string(),
        "tokens_in": pa.int32(),
        "tokens_out": pa.int32(),
        "cost": pa.float64(),
    }
)
"""Columns of a captions file. `translated` says that `caption_zh` is a true translation. `flags` holds the findings of
the checks, with the prefix `zh_` for those of the translation and `original_` for those of `original_en` (a Chinese
original in English). `captioned_as` is the source that the row had when it was captioned (an image of the text-rich
subset gets a different prompt); it is null, as `attempts` is, for a row that was not to be captioned. `prompt` is
the name of the prompt, null if the captioner takes none. Tokens and cost (US dollars) are sums over all attempts and
translations."""


SCORED, SKIPPED, FAILED = "scored", "skipped", "failed"


SAMPLES = pa.schema(
    {
        "key": pa.string(),
        "member": pa.string(),
        "offset": pa.int64(),
        "length": pa.int64(),
        "url": pa.string(),
        "domain": pa.string(),
        "caption": pa.string(),
        "caption_note": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "min_side": pa.int32(),
        "aspect_ratio": pa.float32(),
        "format": pa.string(),
        "sha256": pa.string(),
        "status": pa.string(),
        "error": pa.string(),
    }
)
"""Columns of a samples file; all further columns of the source follow as `meta_*`. `domain` is the URL's host without
`www.`; `caption_note` is one of `curation.corpora.captions.CAPTION_NOTES`; `status` is ok, failed or gone; `error`
starts with one word by which errors are counted."""


SELECTION = pa.schema(
    {
        "key": pa.string(),
        "fate": pa.string(),
        "dropped_by": pa.string(),
        "duplicate_of": pa.string(),
        "balance_group": pa.string(),  # for rows that were balanced: a value, or the number of a cluster
        "source": pa.string(),  # for kept rows: web, or text_in_the_wild by the recipe's rule
    }
)
WEB, TEXT_IN_THE_WILD = "web", "text_in_the_wild"
"""Sources of a kept image. The second is Kolors' text-rich subset, about one image in a thousand (section 2.2.3)."""


VOTES = pa.schema(
    {
        "key": pa.string(),
        "annotator": pa.string(),
        "level": pa.int8(),
        "round": pa.int16(),
        "at": pa.timestamp("us", "UTC"),
        "revision": pa.int32(),
        **dict.fromkeys(("shown_ms", "decided_ms", "hidden_ms"), pa.int32()),
        "device": pa.string(),
    }
)
"""Columns of the votes. The latest revision of a key, annotator and round counts; one whose `level` is null is a
withdrawal, after which the person has no vote. `shown_ms` is how long the image was visible before the vote,
`decided_ms` the time from when it was first shown to the decision, `hidden_ms` how long the page was hidden meanwhile
(milliseconds); `device` is what the person voted on. These four are null in votes that were imported from a file."""
DECISIONS = pa.schema(
    {
        "key": pa.string(),
        "level": pa.int8(),
        "kind": pa.string(),
        "annotator": pa.string(),
        "at": pa.timestamp("us", "UTC"),
        "note": pa.string(),
    }
)
"""Columns of the decisions: verdicts by one person that stand above an image's votes. `kind` is adjudication (of a
tie), safety_review (after a vote for Level 1) or gold (the level was known beforehand). An image's latest decision by
`at` counts; one whose `level` is null takes the earlier ones back."""
LEVELS = pa.schema(
    {
        "key": pa.string(),
        "level": pa.int8(),
        "status": pa.string(),
        "decided_by": pa.string(),
        "votes": pa.int16(),
        "agreement": pa.float32(),
    }
)
"""Columns of the levels: one row for each image with votes or a decision, by key; `level` is null unless the status is
decided. `decided_by` is `majority` or the kind of the decision. `agreement` is the share of pairs of votes that name
the same level (0 to 1), null for fewer than two votes."""


PREDICTIONS = pa.schema({"key": pa.string(), **dict.fromkeys(("p1", "p2", "p3", "p4", "p5", "expected"), pa.float32())})
"""Columns of the predicted levels, one row for each kept image: the probability (0 to 1) of each level, and the
expected level (1 to 5). They order the voting and never stand for a vote."""


PRODUCT = pa.schema(
    {
        **dict.fromkeys(("key", "shard"), pa.string()),
        "index": pa.int32(),
        **dict.fromkeys(("offset", "length"), pa.int64()),
        **dict.fromkeys(("width", "height"), pa.int32()),
        **dict.fromkeys(("text", "caption", "caption_en", "caption_zh", "original_en"), pa.string()),
        **dict.fromkeys(("caption_source", "caption_language"), pa.string()),
        "flags": pa.list_(pa.string()),
        "translated": pa.bool_(),
        "level": pa.int8(),
        **dict.fromkeys(("bucket", "phase", "source", "url", "license", "sha256", "source_sha256"), pa.string()),
        "icc": pa.string(),
    }
)
"""The product's columns beside the signals: the same types in every shard, even where all values are null. `text` is
the training text. `icc` says what became of the picture's colour profile: the published file holds it, or its colours
were converted to sRGB by it; null for a picture without one, and for one that is written anew and was in sRGB."""
ICC_KEPT, ICC_CONVERTED = "kept", "converted"


TABLES = (SAMPLES, SELECTION, CAPTIONS, VOTES, DECISIONS, LEVELS, PREDICTIONS, PRODUCT)
"""All tables whose columns are joined with those of the signals."""
LEVELS_IN_VIEW = {"key": "key"} | {name: "level_status" if name == "status" else name for name in LEVELS.names[1:]}
"""Names of the columns of LEVELS when they are joined with SAMPLES, which has a status of its own."""


PLACES = pa.schema(
    {
        "key": pa.string(),
        "rank": pa.uint64(),  # hash of the key by which the product is shuffled
        "start": pa.int64(),  # byte at which the row's line begins
        "size": pa.int32(),  # bytes of the line; 0 for a row without a text, which has none
        "hash": pa.uint64(),  # hash of the line
    }
)
"""Columns of the places of a raw shard's lines, from which the product is made; see `curation.shards.rows`."""
