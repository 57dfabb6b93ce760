"""Writes numbers of things in words."""


def counted(number: int, things: str) -> str:
    """Returns a number with its noun: `1 image`, `1,234 images`.

    Args:
        number: how many there are.
        things: the noun in the plural, whose singular lacks its last letter, an s.
    """
    return f"{number:,} {things if number != 1 else things.removesuffix('s')}"


def per_second(rate: float) -> str:
    """Returns a rate in few digits: `1,234/s`, `3.2/s` or `0.04/s`."""
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s" if rate >= 0.1 else f"{rate:.1g}/s"
