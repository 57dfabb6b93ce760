"""The workspace: its paths, its files, its lock, and the record of what was done in it."""

from curation.workspace.folder import Workspace

__all__ = ["Workspace"]
