"""The length of loops that kill and damage at random: short and always alike in the suite, long in a soak.

`make soak` sets CURATE_SEED, to another number each time unless it is given, and pytest prints it, so that a failure can
be repeated.
"""

import os

SOAK = "CURATE_SEED" in os.environ
SEED = int(os.environ.get("CURATE_SEED", "1"))


def rounds(short: int, long: int) -> int:
    """Returns the number of rounds of a loop: `short` in the suite, `long` in a soak."""
    return long if SOAK else short
