"""`python -m pipelines.caption_eval VERB RECIPE`: see `curate caption-eval --help`."""

from pipelines.entry import main

if __name__ == "__main__":
    main("caption-eval")
