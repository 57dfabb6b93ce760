"""`python -m pipelines.caption RECIPE`: see `curate caption --help`."""

from pipelines.entry import main

if __name__ == "__main__":
    main("caption")
