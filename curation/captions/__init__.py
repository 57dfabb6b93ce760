"""Captions: who writes them, who translates them, how they are checked, and which text a row is trained with.

A backend is one file here that defines a `Captioner` or `Translator` (or both) whose `name` is the name of
the file.
"""
