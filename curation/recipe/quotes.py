"""Text in double quotes, which in SQL name a column: the hint for whoever meant text, which stands in single ones."""

import re

_COMPARED = r"[\w.]+\s*(?:[<>!]?=|<>|[<>]|(?:\bnot\s+)?\bi?like\b)\s*"
"""The other side of a comparison and its operator, as they stand before the name."""


def quotes_hint(sql: str, name: str) -> str:
    """Returns `; text stands in single quotes: format = 'jpeg'` if `name` stands in double quotes, else ""."""
    written = f'"{name.replace(chr(34), chr(34) * 2)}"'
    found = re.search(f"(?:{_COMPARED})?{re.escape(written)}", sql, re.IGNORECASE)
    if found is None or len(name) > 100:
        return ""
    meant = "'" + name.replace("'", "''") + "'"
    piece = " ".join([*found[0].removesuffix(written).split(), *meant.split()])
    return f"; text stands in single quotes: {piece}"
