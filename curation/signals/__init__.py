"""The signals: each module of this package is one, and the module's name is the signal's name in the recipe.

The user's own signals are the files of the folders that the environment variable CURATE_SIGNALS names, and the modules
that installed packages announce in the group of entry points `curate.signals`.
"""

from curation.extensions import own_folders

__path__ += own_folders("CURATE_SIGNALS")
