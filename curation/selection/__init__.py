"""The fate of every row: predicates, duplicates, balance."""
