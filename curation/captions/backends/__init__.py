"""Captions: who writes them, who translates them, how they are checked, and which text a row is trained with.

A backend is one file here that defines a `Captioner` or `Translator` (or both) whose `name` is the name of the file.
So is each file of the folders that the environment variable CURATE_CAPTIONS names: backends of one's own.
"""

import os

__path__ += [folder for folder in os.environ.get("CURATE_CAPTIONS", "").split(os.pathsep) if folder]
