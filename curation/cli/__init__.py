"""The command `curate`."""

from curation.cli.main import main

__all__ = ["main"]
