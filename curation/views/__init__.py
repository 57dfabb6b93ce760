"""The commands that show something to people: report, tune, query, explain, status and doctor."""
