"""What a captioner is asked: published prompts by name, one of several by the key, one for text-rich images."""

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
"""`pixart`: PixArt-α (arXiv:2310.00426); `recap_datacomp`: Recap-DataComp-1B (arXiv:2406.08478); `laion`: our words for
LAION's rules of recaptioning (terse, counts, text in the image, no speculation, two paragraphs)."""

TEXT_PROMPT = (
    "Describe this image in detail. The following text stands in it: {text} Quote this text in quotation marks where "
    "you say what it stands on."
)
"""For images of the text-rich subset; {text} is what OCR has read."""

MAX_TEXT = 400
"""Characters of OCR text that a prompt carries at most, in whole lines."""


def prompt_for(
    key: str,
    prompts: Sequence[str],
    text: str | None = None,
    text_prompt: str = TEXT_PROMPT,
    limit: int = MAX_TEXT,
) -> tuple[str, str]:
    """The name of the prompt for an image, and the prompt.

    The key's hash chooses among several, so that no other sharding or number of workers changes a choice.

    Args:
        prompts: names from PUBLISHED, or prompts in full, which are named `prompt_1`, `prompt_2` … by their place.
        text: what OCR has read in an image of the text-rich subset; None for another image.
        limit: characters of it that the prompt may carry.
    """
    if text and (quoted := quoted_lines(text, limit)):
        return "text", text_prompt.replace("{text}", quoted)
    at = key_hash(key, "prompt") % len(prompts)
    given = prompts[at]
    return (given, PUBLISHED[given]) if given in PUBLISHED else (f"prompt_{at + 1}", given)


def quoted_lines(text: str, limit: int = MAX_TEXT) -> str:
    """The lines of a text, each in quotation marks, as many whole ones as fit into `limit` characters.

    Of a first line that is longer, its beginning.
    """
    said = ""
    for line in filter(None, (" ".join(line.replace('"', "'").split()) for line in text.splitlines())):
        longer = f'{said}, "{line}"' if said else f'"{line[: limit - 3]}"'
        if len(longer) >= limit:
            break
        said = longer
    return f"{said}." if said else ""
