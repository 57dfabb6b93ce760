"""Sentences, placeholders and plans: what goes to a model, and that nothing gets lost whatever comes back."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.captions.base import Language
from curation.captions.checks.check import check_translation, quoted
from curation.captions.sentences import Sentence, SentencePlan, clauses, foreign, marked, mask, restore, split
from curation.models.text.generation import Answer


def shown(text: str) -> list[str]:
    """The sentences, quotes in their place."""
    return ["".join(f"<{part}>" if n % 2 else part for n, part in enumerate(s.parts)) for s in split(text)]


def answered(text: str, into: Language, say: Callable[[str], str]) -> Answer:
    """What a model that says `say(part)` makes of a text; a part costs a token for each character, in and out."""
    plan = SentencePlan(text, into)

    def said(parts: list[str]) -> dict[str, Answer]:
        return {part: Answer(say(part), tokens_in=len(part), tokens_out=len(say(part))) for part in parts}

    first = said(plan.wholes())
    return plan.answer(first | said(plan.fragments(first)))


@pytest.mark.parametrize(("text", "sentences"), [
    ("A dog sits. It barks! Why? Nobody knows", ["A dog sits.", "It barks!", "Why?", "Nobody knows"]),
    ("Mr. Smith and Dr. J. K. Lee meet.", ["Mr. Smith and Dr. J. K. Lee meet."]),
    ("It is 3.5 m high, e.g. Here, approx. Two storeys.", ["It is 3.5 m high, e.g. Here, approx. Two storeys."]),
    ("House No. 5 in St. Louis. No. Never.", ["House No. 5 in St. Louis.", "No.", "Never."]),
    ("The U.S. Army came at 5 p.m. sharp. It left.", ["The U.S. Army came at 5 p.m. sharp.", "It left."]),
    ("Wait... what? Really?! (Yes.) Well… Good.", ["Wait... what?", "Really?!", "(Yes.)", "Well…", "Good."]),
    ("See www.a.com. Then 5 more. 7 less.", ["See www.a.com.", "Then 5 more.", "7 less."]),
    ('It reads "STOP. GO." in red. "No parking." A car.', ["It reads <STOP. GO.> in red.", "<No parking.>", "A car."]),
    ("一只狗坐着。它在叫！为什么？热闹；很热闹", ["一只狗坐着。", "它在叫！", "为什么？", "热闹；", "很热闹"]),
    ("它高3.5米，写着“今日特价。全场八折”。旁边有人", ["它高3.5米，写着<今日特价。全场八折>。", "旁边有人"]),
    ("他说“好。”她走了。", ["他说<好。>", "她走了。"]),
    ("A line\nanother line \n\n a third.\r\nLast", ["A line", "another line", "a third.", "Last"]),
    ("- a dog\n- a cat. And a cow\n1. Two\n2) Three\n三、第三", ["a dog", "a cat.", "And a cow", "Two", "Three", "第三"]),
    ("1. A dog\n3.5 m\n-5 degrees", ["A dog", "3.5 m", "5 degrees"]),
    ('"A\n\nB. C" stands there. D', ["<A\n\nB. C> stands there.", "D"]),
    ("مرحبا بالعالم. قطة", ["مرحبا بالعالم.", "قطة"]),
    ("🙂 Hi. 🙂🙂", ["🙂 Hi.", "🙂🙂"]),
    ("", []), (" \n\t ", []), ("...", ["..."]), ('""', ['""']), ("1.", ["1."]),
])  # fmt: skip
def test_split(text: str, sentences: list[str]) -> None:
    assert shown(text) == sentences


@given(st.text("aZ.。！? \n\"“”'1-é🙂一，", max_size=60))
def test_no_character_is_lost_and_no_quote_is_cut(text: str) -> None:
    sentences = split(text)
    assert all("".join(sentence.parts) for sentence in sentences)
    together = "".join(sentence.gap + "".join(sentence.parts) for sentence in sentences)
    kept = [c for c in text if not c.isspace() and c not in "\"“”'"]
    assert [c for c in together if not c.isspace() and c not in "\"“”'"] == kept
    assert tuple(quote for sentence in sentences for quote in sentence.quotes) == quoted(text)


def test_clauses_are_as_few_as_fit_and_none_if_one_is_too_long() -> None:
    text = "a dog, 1,000 cats; two: cows, and a very long one"
    assert clauses(text, lambda part: len(part) <= 100) == [text]
    assert clauses(text, lambda part: len(part) <= 20) == ["a dog, 1,000 cats; ", "two: cows, ", "and a very long one"]
    assert clauses(text, lambda part: len(part) <= 10) is None
    assert clauses("一只狗，两只猫；三", lambda part: len(part) <= 4) == ["一只狗，", "两只猫；", "三"]
    assert clauses("x" * 10_000, lambda part: len(part) <= 500) is None


@pytest.mark.parametrize(("text", "english", "chinese"), [
    ("A dog.", False, True), ("一只狗。", True, False), ("Nike Air Max 2023 新款", False, False),
    ('A sign reads "今日特价，全场八折，欢迎光临".', False, True), ("مرحبا بالعالم", True, True),
    ("これは猫の写真です", True, True), ("Кошка на окне, a cat", True, True), ("café naïve", False, True),
    ("🙂 123 !", False, False), ("", False, False), ('"قطة"', False, False),
])  # fmt: skip
def test_foreign(text: str, english: bool, chinese: bool) -> None:
    assert (foreign(text, "en"), foreign(text, "zh")) == (english, chinese)


def test_a_placeholder_is_nothing_that_the_sentence_holds() -> None:
    assert mask(Sentence("", ("It reads ", "A", " and ", "B", ".")), "en") == ('It reads "X1" and "X2".', "X")
    assert mask(Sentence("", ("写着", "A", "。")), "zh") == ("写着“X1”。", "X")
    assert mask(Sentence("", ("A BMW X1 and ", "Z4", "")), "en") == ('A BMW X1 and "K1"', "K")
    assert mask(Sentence("", ("X1 Z2 K 3 V4 ", "Q5", "")), "en") is None


@pytest.mark.parametrize(("said", "restored"), [
    ("写着“X1”和“X2”。", "写着“A”和“B”。"), ("写着 X2 和X1", "写着 “B” 和“A”"), ('"X1""X2"', "“A”“B”"),
    ("《 X1 》「X2」", "“A”“B”"), ("X1，“他说X2”", "“A”，“他说“B””"),
    ("“X1”", None), ("X1 X2 X2", None), ("X1 X2 X3", None), ("X12 X1 X2", None), ("AX1 X2", None), ("X1X2", None), ("", None),
])  # fmt: skip
def test_restore(said: str, restored: str | None) -> None:
    assert restore(said, "X", ("A", "B"), "zh") == restored


def test_marks_do_not_end_within_the_string() -> None:
    assert [marked("a", "zh"), marked("a”", "zh"), marked("a", "en"), marked('5"', "en")] == ["“a”", "「a”」", '"a"', "“5\"”"]  # fmt: skip


def test_quotes_come_back_by_their_placeholders() -> None:
    text = 'Above hangs "今日特价" and below "SALE. 50%". A dog.\n\n- One item'
    spoken = {
        'Above hangs "X1" and below "X2".': "下面是“X2”， 上面是“X1”。", "A dog.": "一只 狗。", "One item": "一件"
    }  # fmt: skip
    answer = answered(text, "zh", spoken.__getitem__)
    assert answer.text == "下面是“SALE. 50%”，上面是“今日特价”。一只狗。\n\n- 一件"
    assert answer.complete and answer.tokens_in == sum(map(len, spoken)) and answer.tokens_out > 0
    english = {"上面写着“X1”。": 'Above it says "X1".', "一只狗。": "A dog."}
    assert answered("上面写着“打折”。一只狗。", "en", english.__getitem__).text == 'Above it says "打折". A dog.'


def test_a_sentence_without_its_placeholder_is_said_again_around_the_quote() -> None:
    spoken = {
        'A sign reads "X1", in red.': "一块红色的牌子。", "A sign reads": "牌子上写着。", ", in red.": "，红色的。"
    }  # fmt: skip
    answer = answered('A sign reads "SALE", in red.', "zh", spoken.__getitem__)
    assert answer.text == "牌子上写着“SALE”，红色的。" and answer.complete
    backward = {"牌子上写着“X1”，很红。": "Red.", "牌子上写着": "A sign reads.", "，很红。": "in red."}
    assert answered("牌子上写着“打折”，很红。", "en", backward.__getitem__).text == 'A sign reads "打折" in red.'
    assert answered('"A", "B" 50%!', "zh", str).text == "“A”，“B”50%!"  # no words: no model is asked
    assert SentencePlan('"A", "B" 50%!', "zh").wholes() == []


@given(
    st.text("aB c.\"'“”‘’「」1\n一。X", max_size=80), st.sampled_from(["", "一", "X1", '"X1', "“X2”X1", "a” “", "X11"])
)
def test_a_quote_survives_whatever_the_model_says(text: str, said: str) -> None:
    answer = answered(text, "zh", lambda _: said)
    if answer.failed:
        assert answer == Answer(failed="not_english")
    else:
        assert all(quote in answer.text for quote in quoted(text))
        assert "quotes_lost" not in check_translation(text, answer.text)


def test_what_is_cut_or_empty_makes_the_whole_incomplete() -> None:
    plan = SentencePlan("A dog. A cat.", "zh")
    assert plan.wholes() == ["A dog.", "A cat."]
    good, cut, none = Answer("狗。"), Answer("猫猫", complete=False), Answer("")
    assert plan.answer({"A dog.": good, "A cat.": cut}) == Answer("狗。猫猫", complete=False)
    assert plan.answer({"A dog.": none, "A cat.": good}) == Answer("狗。", complete=False)
    assert plan.answer({"A dog.": good, "A cat.": Answer(failed="out_of_memory")}) == Answer(failed="out_of_memory")


@pytest.mark.parametrize(
    ("text", "kept"), [("", ""), (" \n", ""), ("🙂🙂", "🙂🙂"), ("12.5%", "12.5%"), ('"قطة"', "“قطة”")]
)
def test_what_has_no_words_is_kept(text: str, kept: str) -> None:
    assert answered(text, "zh", lambda _: pytest.fail("asked")) == Answer(kept)


def test_a_text_in_another_script_is_not_translated() -> None:
    assert answered("مرحبا بالعالم", "zh", str) == Answer(failed="not_english")
    assert answered("A dog", "en", str) == Answer(failed="not_chinese")


def test_ten_thousand_characters_take_no_time() -> None:
    import time

    for text in (
        "A dog. " * 1430,
        "a" * 10_000,
        '"' * 10_001,
        "a. " * 3334,
        "\n" * 10_000 + "b",
        "- " * 5000,
        "x 'a " * 2000,
    ):
        began = time.process_time()
        answered(text, "zh", lambda _: "狗")
        assert time.process_time() - began < 2
