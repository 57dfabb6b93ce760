from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.captions.checks.check import quoted
from curation.recipe.prompts import MAX_TEXT, PUBLISHED, TEXT_PROMPT, prompt_for, quoted_lines

KEYS = [f"web/{i // 1000:05d}/{i:09d}" for i in range(9000)]
SIGN = "GRAND\nOPENING"


def test_published_prompts_go_by_their_name_and_others_by_their_place():
    assert prompt_for("c/s/m", ["pixart"]) == ("pixart", PUBLISHED["pixart"])
    assert prompt_for("c/s/m", ["Say what is there."]) == ("prompt_1", "Say what is there.")
    given = ["pixart", "Say what is there.", "laion"]
    made = {prompt_for(key, given) for key in KEYS[:100]}
    assert made == {("pixart", PUBLISHED["pixart"]), ("prompt_2", given[1]), ("laion", PUBLISHED["laion"])}


def test_the_key_chooses_evenly_and_always_the_same():
    names = [prompt_for(key, list(PUBLISHED))[0] for key in KEYS]
    assert names == [prompt_for(key, list(PUBLISHED), None)[0] for key in KEYS]
    assert set(names) == set(PUBLISHED)
    assert all(abs(count / len(KEYS) - 1 / 3) < 0.02 for count in Counter(names).values())


def test_the_choice_is_independent_of_the_mix():
    from curation.keys import key_share

    synthetic = [key for key in KEYS if key_share(key, "mix") < 0.5]
    first = sum(prompt_for(key, ["pixart", "laion"])[0] == "pixart" for key in synthetic)
    assert abs(first / len(synthetic) - 0.5) < 0.03


def test_a_text_rich_image_is_asked_about_its_text():
    name, prompt = prompt_for("c/s/m", ["pixart"], SIGN)
    assert name == "text" and quoted(prompt) == ("GRAND", "OPENING")
    assert prompt == TEXT_PROMPT.replace("{text}", '"GRAND", "OPENING".')
    assert prompt_for("c/s/m", ["pixart"], SIGN, "What is {text} on?") == ("text", 'What is "GRAND", "OPENING". on?')


@pytest.mark.parametrize("text", [None, "", " \n\t\n"])
def test_an_image_without_text_is_asked_as_the_recipe_says(text):
    assert prompt_for("c/s/m", ["pixart"], text) == ("pixart", PUBLISHED["pixart"])


def test_text_that_looks_like_a_place_for_text_is_text():
    assert prompt_for("c/s/m", ["pixart"], "{text} {0} %s \\1", "On: {text}") == ("text", 'On: "{text} {0} %s \\1".')


@pytest.mark.parametrize(
    "text, limit, lines",
    [
        ("a\nb", 400, '"a", "b".'),
        ("  two   words \n\n", 400, '"two words".'),
        ('say "hi"', 400, "\"say 'hi'\"."),
        ("", 400, ""),
        ("\n \n", 400, ""),
        ("abcd\nefgh\nij", 15, '"abcd", "efgh".'),
        ("abcd\nefghi\nij", 15, '"abcd".'),
        ("abcdefghij\nk", 7, '"abcd".'),
        ("欢迎光临\n开业大吉", 400, '"欢迎光临", "开业大吉".'),
    ],
)
def test_quoted_lines(text, limit, lines):
    assert quoted_lines(text, limit) == lines


@given(st.text(max_size=1000) | st.text('ab"\n “', max_size=1000))
def test_what_is_quoted_stands_in_the_text_and_keeps_to_the_limit(text):
    lines = quoted_lines(text)
    assert len(lines) <= MAX_TEXT
    assert lines.count('"') == 2 * lines.count('", "') + 2 * bool(lines)
    assert "\n" not in lines


@given(st.text(max_size=200))
def test_each_quoted_line_is_a_line_of_the_text(text):
    lines = [" ".join(line.replace('"', "'").split()) for line in text.splitlines()]
    for string in quoted_lines(text).removesuffix(".").split('", "'):
        assert not string or string.strip('"') in lines or string.strip('"') == ""
