"""Captions: who writes them, how they are checked, and which text a picture is trained with."""
