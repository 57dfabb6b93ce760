"""Decides who votes on what, takes in votes, and closes items: each function is one transaction's work.

Every function is given the connection of the transaction, and the clock and the randomness that it uses, so that a test
can run the same code under a time, a chance and a storage of its own.
"""
