"""Makes and splits the keys of images, and hashes them for every choice by key."""

import hashlib
import unicodedata


def make_key(corpus: str, shard: str, member: str) -> str:
    """Returns the key `CORPUS/SHARD/MEMBER` in Unicode's composed form (NFC): a file has one key on every system."""
    return composed(f"{corpus}/{shard}/{member}")


def composed(key: str) -> str:
    """Returns a key in composed form, whoever has written it: macOS writes é as two characters."""
    return unicodedata.normalize("NFC", key)


def well_formed(text: str) -> str:
    """Replaces invalid Unicode in a text (half a surrogate pair, a byte of another encoding) by U+FFFD."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def split_key(key: str) -> tuple[str, str, str]:
    """Splits a key into corpus, shard and member.

    Raises:
        ValueError: the key does not have three non-empty parts.
    """
    parts = key.split("/", 2)
    if len(parts) != 3 or not all(parts):
        raise ValueError(f'"{key}" is not a key; keys look like CORPUS/SHARD/MEMBER')
    return parts[0], parts[1], parts[2]


def key_hash(key: str, salt: str) -> int:
    """Returns a hash of the key under a named salt, an integer in [0, 2⁶⁴).

    Every choice that must not depend on the sharding or the number of workers (mix, split, prompt, order) is made by
    this hash. Only the salt's first 16 bytes count.
    """
    digest = hashlib.blake2b(key.encode(), digest_size=8, person=salt.encode()[:16]).digest()
    return int.from_bytes(digest, "big")


def key_share(key: str, salt: str) -> float:
    """Returns `key_hash` as a number in [0, 1): `key_share(k, "mix") < 0.5` holds for about half of all keys."""
    return (key_hash(key, salt) >> 11) / (1 << 53)
