"""Decides the fate of every row, by predicates, duplicates and balance."""
