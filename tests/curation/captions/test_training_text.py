import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from curation.captions.training_text import language_of, training_text

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


def choices(keys):
    """What each key's row is trained with, a digit each."""
    made = [text(key) for key in keys]
    return "".join(str(2 * (row.source == "synthetic") + (row.language == "zh")) for row in made)


@pytest.mark.parametrize("workers", [1, 3])
def test_other_processes_and_other_shards_of_work_choose_the_same(workers):
    keys = KEYS[::25]
    code = "import sys; from tests.curation.captions.test_training_text import KEYS, choices; print(choices(eval(sys.argv[1])))"
    made = {}
    for worker in range(workers):  # each with other random hashes of strings, as processes have them
        part = f"KEYS[::25][{worker}::{workers}][::-1]"
        command, seed = [sys.executable, "-c", code, part], {"PYTHONHASHSEED": str(worker + 1)}
        root = Path(__file__).parents[3]
        said = subprocess.run(
            command, env=os.environ | seed, cwd=root, stdout=subprocess.PIPE, text=True, check=True
        ).stdout
        made |= zip(keys[worker::workers][::-1], said.strip(), strict=True)
    assert "".join(made[key] for key in keys) == choices(keys)


def test_the_choices_are_for_good():
    """A data set that grows must not be mixed anew, so that the choices are pinned."""
    assert choices(KEYS[:40]) == "3203003330030320200032200232000022033003"


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
