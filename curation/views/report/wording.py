"""Texts, number formats and colours of the report's page."""

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
"""Paul Tol's bright colour scheme, distinguishable with any colour vision, on white and on black."""


def share(count: int, total: int) -> str:
    """Formats a share in percent; a share above zero never reads as 0 %, and one below the whole never as 100 %."""
    if not total or not count:
        return "0 %"
    percent = 100 * count / total
    if percent < 0.01:
        return "< 0.01 %"
    if percent > 99.99 and count < total:
        return "> 99.99 %"
    return f"{percent:.2f} %" if percent < 1 or 99 < percent < 100 else f"{percent:.1f} %"


LONGEST = 600
"""Maximum number of characters shown of one text."""
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufff9-\ufffb]")
"""Control characters, and those that change the direction of writing."""


def display_text(text: str | None, longest: int = LONGEST) -> str:
    """Returns a text for display: at most `longest` characters, with invisible and direction marks spelt out."""
    if not text:
        return ""
    shown = _UNSEEN.sub(lambda m: f"⟨U+{ord(m[0]):04X}⟩", text[:longest])
    return shown if len(text) <= longest else f"{shown} … ({len(text):,} characters)"


def moment(seconds: float | None) -> str:
    """Formats seconds since 1970 as a date and time in UTC."""
    try:
        return "" if seconds is None else time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return ""
