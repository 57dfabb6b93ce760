"""Translates the captions of `describe` offline and exactly, and no other text.

A caption is parsed to a Description, which must give exactly the same caption again: this proves that it was
understood. A caption that fails this test is not translated.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from curation.captions.backends.describe import COLOURS, MANY, NUMBERS, SHAPES, STYLES, TONES, Description, Shape, Tone
from curation.captions.base import Language, Translator
from curation.errors import UserError
from curation.models.checkpoints import Models
from curation.models.plugin import PluginParams
from curation.models.text.generation import Answer

ZH_SHAPES: dict[Shape, str] = {"landscape": "横向", "portrait": "竖向", "square": "方形", "panorama": "宽幅"}
ZH_TONES: dict[Tone, tuple[str, str]] = {"bright": ("明亮", "整体明亮"), "dark": ("昏暗", "整体偏暗")}
ZH_NUMBERS = ("零", "一", "两", "三", "四", "五", "六", "七", "八", "九", "十")
"""Numerals before a measure word: 两张, not 二张."""
ZH_COLOURS = {
    "black": "黑色", "gray": "灰色", "white": "白色", "red": "红色", "dark red": "深红色", "orange": "橙色",
    "yellow": "黄色", "green": "绿色", "dark green": "深绿色", "light green": "浅绿色", "turquoise": "青绿色",
    "light blue": "浅蓝色", "blue": "蓝色", "dark blue": "深蓝色", "purple": "紫色", "pink": "粉色",
    "brown": "棕色", "beige": "米色",
}  # fmt: skip


def _any(words: Sequence[str]) -> str:
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))  # "dark blue" before "blue"


_QUOTED = re.compile(r'"([^"]*)"')
_COLOUR = re.compile(rf"\b(?:{_any(list(COLOURS))})\b")
_TONE = re.compile(rf"\b({_any(TONES)})\b")
_SHAPE = re.compile(rf"\b({_any(list(SHAPES.values()))})\b")
_FACES = re.compile(rf"\b(more than )?({_any(NUMBERS[1:])}) faces?\b")
_SHAPE_OF_WORD = {word: shape for shape, word in SHAPES.items()}


def parse(caption: str) -> Description | None:
    """Returns the Description whose English wording is exactly this caption; None if there is none."""
    quotes = _QUOTED.findall(caption)
    unquoted = _QUOTED.sub("", caption).lower()
    shape = _SHAPE.search(unquoted)
    if len(quotes) > 1 or not shape:
        return None
    bare = _COLOUR.sub("", unquoted)  # the "dark" of "dark blue" is no tone
    tone = _TONE.search(bare)
    faces = _FACES.search(bare)
    try:
        description = Description(
            shape=_SHAPE_OF_WORD[shape[1]],
            tone=next((t for t in TONES if tone and t == tone[1]), None),
            black_and_white="black-and-white" in unquoted,
            colours=tuple(_COLOUR.findall(unquoted.replace("black-and-white", ""))),
            faces=0 if not faces else MANY if faces[1] else NUMBERS.index(faces[2]),
            text=quotes[0] if quotes else "",
            text_goes_on="begin" in unquoted,
        )
    except ValueError:
        return None
    wordings = (replace(description, style=style) for style in range(STYLES))
    return next((wording for wording in wordings if wording.english() == caption), None)


def chinese(description: Description) -> str:
    """Returns the description in the Chinese counterpart of its English style; quoted text is unchanged."""
    d = description
    tone, overall = ZH_TONES[d.tone] if d.tone else ("", "")
    picture = f"{ZH_SHAPES[d.shape]}{'黑白' if d.black_and_white else ''}图片"
    colours = join([ZH_COLOURS[colour] for colour in d.colours])
    faces = f"{'超过十' if d.faces == MANY else ZH_NUMBERS[d.faces]}张人脸" if d.faces else ""
    style = d.style % STYLES
    if style == 1:
        first = [f"一张{picture}", f"以{colours}为主" if colours else "", overall]
        text = f"文字{'开头' if d.text_goes_on else '内容'}为“{d.text}”" if d.text else ""
        sentences = ["，".join(filter(None, first)), f"画面中可以看到{faces}" if faces else "", text]
        return "".join(f"{sentence}。" for sentence in sentences if sentence)
    of_tone = f"{tone}的" if tone else ""
    text = (f"以“{d.text}”开头的文字" if d.text_goes_on else f"文字“{d.text}”") if d.text else ""
    content = join([part for part in (faces, text) if part])
    if style == 2 and content:
        return f"{content}出现在一张{of_tone}{picture}中{f'，主要颜色为{colours}' if colours else ''}。"
    if style == 3 and colours:
        return f"一张以{colours}为主色调的{tone}{picture}{f'，图中有{content}' if content else ''}。"
    within = f"，以{colours}为主" if colours else ""
    return f"一张{of_tone}{picture}{within}{f'，画面中有{content}' if content else ''}。"


def join(parts: Sequence[str]) -> str:
    """Joins parts as `甲`, `甲和乙` or `甲、乙和丙`."""
    return "和".join(filter(None, ("、".join(parts[:-1]), *parts[-1:])))


class DescribeZh(Translator):
    """Translates the captions of `describe` into Chinese."""

    name = "describe_zh"
    version = 1
    generative = False

    def __init__(self, params: PluginParams, models: Models | None = None, into: Language = "zh") -> None:
        super().__init__(params, models, into)
        if into != "zh":
            raise UserError("describe_zh translates into Chinese only", "captions.original_translator.backend")

    def translate(self, texts: Sequence[str]) -> list[Answer]:
        """See Translator."""
        parsed = [parse(text) for text in texts]
        return [Answer(chinese(description) if description else "") for description in parsed]
