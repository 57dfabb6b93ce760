"""The signals. Each file here is one; its name is its name in the recipe.

So is each file of the folders that the environment variable CURATE_SIGNALS names, and each module that an installed
package announces in the group of entry points `curate.signals`: signals of one's own.
"""

from curation.extensions import own_folders

__path__ += own_folders("CURATE_SIGNALS")
