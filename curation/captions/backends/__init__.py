"""The backends that write and translate captions.

A backend is one file of this folder that defines a `Captioner` or `Translator` (or both) whose `name` is the file's
name. The files of the folders in the environment variable CURATE_CAPTIONS define further backends, such as the user's
own.
"""

import os

__path__ += [folder for folder in os.environ.get("CURATE_CAPTIONS", "").split(os.pathsep) if folder]
