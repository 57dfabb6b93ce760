"""`python -m pipelines.index RECIPE`: see `curate index --help`."""

from pipelines.entry import main

if __name__ == "__main__":
    main("index")
