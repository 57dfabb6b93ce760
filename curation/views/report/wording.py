"""Words, numbers and colours of the report's page."""

import re
import time

COLOURS = {
    "kept": "#4477AA",
    "dropped": "#EE6677",
    "duplicate": "#66CCEE",
    "balance": "#228833",
    "undecided": "#CCBB44",
    "failed": "#AA3377",
    "gone": "#BBBBBB",
    "all": "#4477AA",
}
"""Paul Tol's bright scheme: told apart with any colour vision, on white and on black."""


def share(count: int, total: int) -> str:
    """A share in percent; one that is not nothing never reads as nothing, one that is not all never as all."""
    if not total or not count:
        return "0 %"
    percent = 100 * count / total
    if percent < 0.01:
        return "< 0.01 %"
    if percent > 99.99 and count < total:
        return "> 99.99 %"
    return f"{percent:.2f} %" if percent < 1 or 99 < percent < 100 else f"{percent:.1f} %"


LONGEST = 600
"""Characters of one text that are shown."""
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufff9-\ufffb]")
"""Control characters, and those that turn the direction of what follows."""


def said(text: str | None, longest: int = LONGEST) -> str:
    """A text as it may be shown: not too long, and what would not be seen, or turn the line round, spelt out."""
    if not text:
        return ""
    shown = _UNSEEN.sub(lambda m: f"⟨U+{ord(m[0]):04X}⟩", text[:longest])
    return shown if len(text) <= longest else f"{shown} … ({len(text):,} characters)"


def moment(seconds: float | None) -> str:
    """Seconds since 1970 as a date and time."""
    try:
        return "" if seconds is None else time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return ""
