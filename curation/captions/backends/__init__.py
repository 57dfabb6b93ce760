"""Holds the backends of captioners and translators, one in each file.

A backend is one file here that defines a `Captioner` or `Translator` (or both) whose `name` is the name of the file.
A user's own backends are each a file in one of the folders that the environment variable CURATE_CAPTIONS names, or a
module that an installed package announces in the group of entry points `curate.captions`.
"""

from curation.extensions import own_folders

__path__ += own_folders("CURATE_CAPTIONS")
