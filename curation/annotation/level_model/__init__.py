"""Learns from votes which images are likely to be of which level, to order the voting; it never replaces a vote."""
