"""Checks captions and translations, with one module for each kind of fault."""
