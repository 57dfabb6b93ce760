"""The workspace: its paths, its files, and what is done in it."""

from curation.workspace.folder import Workspace

__all__ = ["Workspace"]
