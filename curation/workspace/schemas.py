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
`www.`; `status` is ok, failed or gone; `error` starts with one word by which errors are counted."""


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
    }
)
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
