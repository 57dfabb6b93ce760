"""Chooses a captioner's prompt: a published one by name, one of several by the key, or one for text-rich images."""

from collections.abc import Sequence

from curation.keys import key_hash

PUBLISHED = {
    "pixart": "Describe this image and its style in a very detailed manner.",
    "recap_datacomp": "Please generate a detailed caption of this image. Please be as descriptive as possible.",
    "laion": (
        "Describe this image in two short paragraphs. Say how many of each thing there are, quote any text that can be "
        "read, and say nothing that cannot be seen."
    ),
}
"""Published prompts. `pixart`: PixArt-α (arXiv:2310.00426); `recap_datacomp`: Recap-DataComp-1B (arXiv:2406.08478);
`laion`: our wording of LAION's rules of recaptioning (terse, counts, text in the image, no speculation, two
paragraphs)."""

TEXT_PROMPT = (
    "Describe this image in detail. The following text stands in it: {text} Quote this text in quotation marks where "
    "you say what it stands on."
)
"""Prompt for images of the text-rich subset; {text} is the text that OCR has read."""

MAX_TEXT = 400
"""Maximum number of characters of OCR text in a prompt, in whole lines."""


def prompt_for(
    key: str,
    prompts: Sequence[str],
    text: str | None = None,
    text_prompt: str = TEXT_PROMPT,
    limit: int = MAX_TEXT,
) -> tuple[str, str]:
    """Returns the name of the prompt for an image, and the prompt itself.

    The key's hash chooses among several prompts, so that the choice depends neither on the sharding nor on the number
    of workers.

    Args:
        key: key of the image.
        prompts: names from PUBLISHED, or full prompts, which are named `prompt_1`, `prompt_2` … by their position.
        text: the text that OCR has read in an image of the text-rich subset; None for other images.
        text_prompt: the prompt for the text-rich subset, with {text} in it.
        limit: maximum number of characters of the text in the prompt.
    """
    if text and (quoted := quoted_lines(text, limit)):
        return "text", text_prompt.replace("{text}", quoted)
    at = key_hash(key, "prompt") % len(prompts)
    prompt = prompts[at]
    return (prompt, PUBLISHED[prompt]) if prompt in PUBLISHED else (f"prompt_{at + 1}", prompt)


def quoted_lines(text: str, limit: int = MAX_TEXT) -> str:
    """Returns the lines of a text, each in quotation marks, as many whole lines as fit into `limit` characters.

    If the first line alone is longer, its beginning is used.
    """
    quoted = ""
    for line in filter(None, (" ".join(line.replace('"', "'").split()) for line in text.splitlines())):
        longer = f'{quoted}, "{line}"' if quoted else f'"{line[: limit - 3]}"'
        if len(longer) >= limit:
            break
        quoted = longer
    return f"{quoted}." if quoted else ""
