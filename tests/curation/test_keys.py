"""Keys, and the one hash that every choice comes from."""

import hashlib
import unicodedata

import pytest

from curation.keys import key_hash, key_share, make_key, split_key


def test_a_key_is_corpus_shard_member() -> None:
    assert make_key("web", "00000", "000000012") == "web/00000/000000012"
    assert split_key("web/00000/holiday/2021/beach.jpg") == ("web", "00000", "holiday/2021/beach.jpg")


@pytest.mark.parametrize("name", ["Größe.jpg", "été.png", "がぎぐ.webp", "한국.gif"])
def test_composed_and_decomposed_names_have_one_key(name: str) -> None:
    keys = {make_key("c", "0", unicodedata.normalize(form, name)) for form in ("NFC", "NFD")}
    assert keys == {unicodedata.normalize("NFC", f"c/0/{name}")}


@pytest.mark.parametrize("key", ["", "web", "web/00000", "web//x", "/00000/x", "web/00000/"])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="CORPUS/SHARD/MEMBER"):
        split_key(key)


def test_the_hash_is_blake2b_of_the_utf8_under_the_salt() -> None:
    expected = hashlib.blake2b("网/0/图.jpg".encode(), digest_size=8, person=b"mix").digest()
    assert key_hash("网/0/图.jpg", "mix") == int.from_bytes(expected, "big")
    assert key_hash("web/00000/000000012", "mix") != key_hash("web/00000/000000012", "split")


def test_the_hash_never_changes() -> None:
    assert key_hash("web/00000/000000012", "mix") == 0xAFEEB4C051CF58B7


def test_shares_are_even_and_independent_between_salts() -> None:
    keys = [f"web/{i // 1000:05d}/{i:09d}" for i in range(20_000)]
    mix, split = ([key_share(k, salt) for k in keys] for salt in ("mix", "split"))
    assert all(0 <= share < 1 for share in mix)
    for tenth in range(10):
        assert abs(sum(tenth / 10 <= s < (tenth + 1) / 10 for s in mix) / len(keys) - 0.1) < 0.01
    both = sum(a < 0.5 and b < 0.5 for a, b in zip(mix, split, strict=True)) / len(keys)
    assert abs(both - 0.25) < 0.015
