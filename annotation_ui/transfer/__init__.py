"""Brings votes out of the database: into the workspace's files and into a copy; tells how far the votes have come."""
