"""`python -m pipelines.score RECIPE`: see `curate score --help`."""

from pipelines.entry import main

if __name__ == "__main__":
    main("score")
