import random

import pytest

from curation.captions.mix import language_of, training_text

KEYS = [f"web/{i // 1000:05d}/{i:09d}" for i in range(100_000)]


def text(key="c/s/m", original="a tag", en="A cat.", zh="一只猫。", translated=True, synthetic=0.5, zh_share=0.5):
    return training_text(key, original, en, zh, translated, synthetic, zh_share)


@pytest.mark.parametrize("synthetic, zh_share", [(0.5, 0.5), (0.2, 0.9), (0.95, 0.1)])
def test_realised_shares(synthetic, zh_share):
    rows = [text(key, synthetic=synthetic, zh_share=zh_share) for key in KEYS]
    chosen = [row for row in rows if row.source == "synthetic"]
    assert len(chosen) / len(rows) == pytest.approx(synthetic, abs=0.005)
    # ±0.5 % of all rows; among the synthetic ones alone there are fewer keys to even out.
    assert sum(r.language == "zh" for r in chosen) / len(rows) == pytest.approx(synthetic * zh_share, abs=0.005)
    both = sum(text(key, original=None, zh_share=zh_share).language == "zh" for key in KEYS)
    assert both / len(KEYS) == pytest.approx(zh_share, abs=0.005)


def test_a_row_does_not_depend_on_the_others():
    keys = KEYS[:2000]
    first = {key: text(key) for key in keys}
    random.Random(0).shuffle(keys)
    assert {key: text(key) for key in keys} == first


def test_a_larger_share_only_adds_rows():
    for key in KEYS[:1000]:
        if text(key, synthetic=0.3).source == "synthetic":
            assert text(key, synthetic=0.6).source == "synthetic"


@pytest.mark.parametrize(
    "given, expected",
    [
        ({"synthetic": 0}, ("a tag", "original", "en")),
        ({"synthetic": 1, "zh_share": 0}, ("A cat.", "synthetic", "en")),
        ({"synthetic": 1, "zh_share": 1}, ("一只猫。", "synthetic", "zh")),
        ({"synthetic": 1, "zh_share": 1, "translated": False}, ("A cat.", "synthetic", "en")),
        ({"synthetic": 1, "zh_share": 1, "translated": None}, ("A cat.", "synthetic", "en")),
        ({"synthetic": 1, "zh_share": 1, "zh": ""}, ("A cat.", "synthetic", "en")),
        ({"synthetic": 1, "zh_share": 0, "en": None}, ("一只猫。", "synthetic", "zh")),
        ({"synthetic": 1, "en": None, "translated": False}, ("a tag", "original", "en")),
        ({"synthetic": 1, "en": "  ", "zh": None}, ("a tag", "original", "en")),
        ({"synthetic": 0, "zh_share": 0, "original": None}, ("A cat.", "synthetic", "en")),
        ({"synthetic": 0, "zh_share": 0, "original": " \n"}, ("A cat.", "synthetic", "en")),
        ({"synthetic": 0, "original": " Große  Katze \n"}, (" Große  Katze \n", "original", "en")),
        ({"original": None, "en": None, "translated": False}, (None, None, None)),
        ({"original": "", "en": "", "zh": None}, (None, None, None)),
    ],
)
def test_choice_and_fallbacks(given, expected):
    assert text(**given) == expected


@pytest.mark.parametrize(
    "given, language",
    [
        ("a cat", "en"),
        ("un été à Genève", "en"),
        ("一只猫", "zh"),
        ("iPhone 15 手机壳 全新正品", "zh"),
        ("A photo taken in 北京 last summer, with a very long English text around it", "en"),
        ("東京の夜景はとてもきれいです", "other"),
        ("한국어 설명", "other"),
        ("Москва ночью", "other"),
        ("2024-05-01", "other"),
        ("🐱🐱", "other"),
        ("", "other"),
    ],
)
def test_language_of(given, language):
    assert language_of(given) == language
