"""People who take part: their roles, personal links, passwords and sessions, and the log of what was done."""
