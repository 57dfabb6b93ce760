"""Plug-ins for curate."""
