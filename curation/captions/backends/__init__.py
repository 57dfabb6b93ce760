"""Captions: who writes them, who translates them, how they are checked, and which text a row is trained with.

A backend is one file here that defines a `Captioner` or `Translator` (or both) whose `name` is the name of the file.
So is each file of the folders that the environment variable CURATE_CAPTIONS names, and each module that an installed
package announces in the group of entry points `curate.captions`: backends of one's own.
"""

from curation.extensions import own_folders

__path__ += own_folders("CURATE_CAPTIONS")
