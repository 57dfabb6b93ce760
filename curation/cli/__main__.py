"""`python -m curation.cli VERB`: the same as `curate VERB`."""

from curation.cli.main import main

if __name__ == "__main__":
    main()
