"""`python -m pipelines VERB RECIPE`: a stage as the entry point of a job, such as `ray job submit … -- python -m …`.

The same command line as `curate VERB`, for a machine on which the package can be imported but `curate` is not found.
"""

import runpy

if __name__ == "__main__":
    runpy.run_module("curation.cli", run_name="__main__", alter_sys=True)
