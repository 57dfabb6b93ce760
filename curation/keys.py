"""Keys of images, and the one way in which a key is hashed."""

import hashlib
import unicodedata


def make_key(corpus: str, shard: str, member: str) -> str:
    """`CORPUS/SHARD/MEMBER`, in Unicode's composed form (NFC), so that one file has one key on every system."""
    return unicodedata.normalize("NFC", f"{corpus}/{shard}/{member}")


def well_formed(text: str) -> str:
    """The text with what is no Unicode (half a surrogate pair, a byte of another encoding) replaced by U+FFFD."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def split_key(key: str) -> tuple[str, str, str]:
    """Corpus, shard and member of a key; ValueError if it has not three parts."""
    parts = key.split("/", 2)
    if len(parts) != 3 or not all(parts):
        raise ValueError(f'"{key}" is not a key; keys look like CORPUS/SHARD/MEMBER')
    return parts[0], parts[1], parts[2]


def key_hash(key: str, salt: str) -> int:
    """A 64-bit hash of the key under a named salt.

    Every choice that must not depend on sharding or worker count (mix, split, prompt, order) comes from here.
    """
    digest = hashlib.blake2b(key.encode(), digest_size=8, person=salt.encode()[:16]).digest()
    return int.from_bytes(digest, "big")


def key_share(key: str, salt: str) -> float:
    """The same hash as a number in [0, 1): `key_share(k, "mix") < 0.5` holds for half of all keys."""
    return (key_hash(key, salt) >> 11) / (1 << 53)
