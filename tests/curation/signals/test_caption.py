"""Length and language of the original text."""

import pytest

from curation.signals.base import Row
from curation.signals.caption import Caption


def score(caption: str | None) -> dict:
    (scores,) = Caption(Caption.Params()).score([Row(None, {"caption": caption}, {})])
    assert scores.keys() <= Caption.columns.keys()
    return scores


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("A wooden boat with a red sail on a calm lake in the early morning", "en"),
        ("Two children are playing with a yellow ball in the garden behind the house", "en"),
        ("清晨的湖面上停着一艘挂着红帆的木船，远处是连绵的群山", "zh"),
        ("春茶节海报：云雾山茶园，采茶、制茶、品茶", "zh"),
        ("一只猫坐在窗台上", "zh"),
        ("新款连衣裙女2024夏季", "zh"),
        ("北京故宫", "zh"),
        ("Zwei Kinder spielen im Garten hinter dem Haus mit einem gelben Ball", "de"),
        ("Deux enfants jouent avec un ballon jaune dans le jardin derrière la maison", "fr"),
        ("Двое детей играют с жёлтым мячом в саду за домом", "ru"),
        ("庭で黄色いボールで遊んでいる二人の子供たち", "ja"),
    ],
)
def test_the_language_of_a_sentence(text: str, language: str) -> None:
    scores = score(text)
    assert scores["caption_lang"] == language
    assert 0.5 <= scores["caption_lang_confidence"] <= 1


@pytest.mark.parametrize(
    "text", ["IMG", "x", "a1b2", "DSC_0012.jpg", "zzz qq", "呢度好靚", "Kumusta kayo sa inyong lahat"]
)
def test_a_code_has_two_letters_or_is_und(text: str) -> None:
    assert score(text)["caption_lang"] == "und" or len(score(text)["caption_lang"]) == 2


@pytest.mark.parametrize("text", ["IMG", "x", "DSC_0012.jpg", "zzz qq", "ok"])
def test_a_scrap_names_a_language_only_where_it_is_sure(text: str) -> None:
    scores = score(text)
    assert 0 < scores["caption_lang_confidence"] <= 1
    assert (scores["caption_lang"] == "und") == (scores["caption_lang_confidence"] < 0.5)


def test_some_scraps_have_no_sure_language() -> None:
    assert "und" in {score(text)["caption_lang"] for text in ("IMG", "x", "a1b2", "zzz qq", "Bild 1", "kl")}


@pytest.mark.parametrize("text", [None, "", "  \n\t", "123 456", "…!?", "🙂🙂", "2021-03-04 12:00"])
def test_what_has_no_letters_has_no_language(text: str | None) -> None:
    scores = score(text)
    assert scores.get("caption_lang") is None and scores.get("caption_lang_confidence") is None
    assert scores["caption_length"] == len((text or "").strip())


@pytest.mark.parametrize(
    ("text", "length", "words"),
    [(None, 0, 0), ("", 0, 0), ("  a red boat\n", 10, 3), ("春茶节", 3, 1), ("one\ttwo  three", 14, 3)],
)
def test_length_in_characters_and_words_between_spaces(text: str | None, length: int, words: int) -> None:
    scores = score(text)
    assert (scores["caption_length"], scores["caption_words"]) == (length, words)


def test_a_very_long_text_is_scored_whole_in_length() -> None:
    scores = score("the quick brown fox jumps over the lazy dog " * 5000)
    assert scores["caption_length"] == 44 * 5000 - 1 and scores["caption_words"] == 45_000
    assert scores["caption_lang"] == "en"


def test_it_reads_the_caption_and_no_pixels() -> None:
    assert Caption.side is None and Caption.inputs == ("caption",)
