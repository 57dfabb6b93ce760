"""YAML is read and written by the rules of YAML 1.1, as PyYAML has them."""

import math
from datetime import date, datetime
from typing import Any

import pytest
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from curation.recipe.yaml_text import read_yaml, write_yaml


@pytest.mark.parametrize(("text", "value"), [
    ("yes", True), ("Yes", True), ("on", True), ("TRUE", True), ("no", False), ("off", False), ("false", False),
    ("y", "y"), ("n", "n"), ("N", "N"), ("yEs", "yEs"),
    ("012", 10), ("0o17", "0o17"), ("08", "08"), ("0x1f", 31), ("0b11", 3), ("1_000", 1000), ("-0", 0), ("1:20", 80),
    ("1e3", "1e3"), ("1.0e3", "1.0e3"), ("1e-3", "1e-3"), ("1.0e+3", 1000.0), (".5", 0.5), ("-.5", "-.5"), ("1.", 1.0),
    ("1_0.5", 10.5), (".inf", math.inf), ("NaN", "NaN"),
    ("2024-01-02", date(2024, 1, 2)), ("2024-01-02 03:04:05", datetime(2024, 1, 2, 3, 4, 5)),
    ("~", None), ("null", None), ("", None), ("'no'", "no"), ('"012"', "012"),
    ("http://a:80", "http://a:80"), ("{a:1}", {"a:1": None}), ("p: http://a/b?c=d", {"p": "http://a/b?c=d"}),
    ("|\n a\n b\n", "a\nb\n"), (">\n a\n b\n", "a b\n"), ("!!set {a}", {"a"}), ("\ufeffa: 1", {"a": 1}),
    ("{a: &x {b: 1, c: 2}, d: {<<: *x, b: 3}}", {"a": {"b": 1, "c": 2}, "d": {"b": 3, "c": 2}}),
    ("%YAML 1.2\n---\na: yes", {"a": True}),
])  # fmt: skip
def test_values(text: str, value: Any) -> None:
    found = read_yaml(text)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(("text", "line", "says"), [
    ("a: 1\nb: 2\na: 3\n", 3, 'the key "a" stands twice'), ("a:\n  {1: b,\n   1: c}\n", 3, 'the key "1" stands twice'),
    ("[a]: 1\n", 1, "a key is a list or a mapping"), ("a: 1\nb: !!python/name:os.system\n", 2, "constructor"),
])  # fmt: skip
def test_a_mistake_says_where_it_stands(text: str, line: int, says: str) -> None:
    with pytest.raises(MarkedYAMLError) as caught:
        read_yaml(text)
    assert caught.value.problem_mark.line + 1 == line and says in caught.value.problem


@pytest.mark.parametrize("text", ["a: \x00\n", "a: 1\n---\nb: 2\n", "a: *b\n", "@a"])
def test_what_is_not_one_document_is_refused(text: str) -> None:
    with pytest.raises(YAMLError):
        read_yaml(text)


def test_what_is_written_is_read_again_and_written_byte_for_byte_as_before() -> None:
    data = {"text": "a: b", "yes": "yes", "y": "n", "it's": "it's", "lines": "a\n\nb\n", "octal": "012", "tab": "a\tb",
            "small": 1e-06, "large": 1e20, "share": 0.95, "empty": "", "none": None, "true": True, "date": "2024-01-02",
            "list": [1, [2, 3], {"a": []}], "字": "“中文” 🎉", "exponent": "1e3", "long": "word " * 8, "no": {},
            "plain": "a line that is folded behind the word that ends beyond it", "wide": "x  y" * 8}  # fmt: skip
    text = write_yaml(data, width=30)
    assert list(read_yaml(text).items()) == list(data.items())
    assert (
        text
        == """\
text: 'a: b'
'yes': 'yes'
y: n
it's: it's
lines: 'a


  b

  '
octal: '012'
tab: "a\\tb"
small: 1.0e-06
large: 1.0e+20
share: 0.95
empty: ''
none: null
'true': true
date: '2024-01-02'
list:
- 1
- - 2
  - 3
- a: []
字: “中文” 🎉
exponent: 1e3
long: 'word word word word word
  word word word '
'no': {}
plain: a line that is folded behind
  the word that ends beyond it
wide: x  yx  yx  yx  yx  yx  yx  yx  y
"""
    )


def test_a_long_text_of_odd_characters_comes_back() -> None:
    text = (
        "".join(f"{word}{odd}" for word in ("a", "'b'", '"c"', "d d") for odd in ("\t ", " \n", "\x07 ", "\u2028", " "))
        * 9
    )
    assert read_yaml(write_yaml({"text": text}, width=40)) == {"text": text}
