"""`python -m pipelines.status RECIPE`: see `curate status --help`."""

from pipelines.entry import main

if __name__ == "__main__":
    main("status")
