"""Writes durations in words."""


def in_words(seconds: float) -> str:
    """Returns a duration in words, rounded: `40 s`, `12 min`, `5 h` or `4 days`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours = round(minutes / 60)
    return f"{hours} h" if hours < 72 else f"{round(hours / 24)} days"
