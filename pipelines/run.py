"""`python -m pipelines.run RECIPE`: see `curate run --help`."""

from pipelines.entry import main

if __name__ == "__main__":
    main("run")
