"""`python -m pipelines.report RECIPE`: see `curate report --help`."""

from pipelines.entry import main

if __name__ == "__main__":
    main("report")
