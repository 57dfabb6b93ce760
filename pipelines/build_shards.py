"""`python -m pipelines.build_shards RECIPE`: see `curate build-shards --help`."""

from pipelines.entry import main

if __name__ == "__main__":
    main("build-shards")
