"""`python -m pipelines.VERB RECIPE`: a stage as the entry point of a job, such as `ray job submit … -- python -m …`.

The same command line as `curate VERB`, for a machine on which the package can be imported but `curate` is not found.
"""

import sys

from curation import cli


def main(verb: str) -> None:
    """Runs `curate VERB` with the arguments of this process."""
    sys.argv = ["curate", verb, *sys.argv[1:]]
    cli.main()
