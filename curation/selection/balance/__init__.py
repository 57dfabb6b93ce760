"""Balances a selection: decides how many images of each group are kept."""
