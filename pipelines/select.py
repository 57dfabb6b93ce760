"""`python -m pipelines.select RECIPE`: see `curate select --help`."""

from pipelines.entry import main

if __name__ == "__main__":
    main("select")
