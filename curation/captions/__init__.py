"""Writes captions, checks and translates them, and chooses the text that a picture is trained with."""
