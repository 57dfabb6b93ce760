"""Reads the page's files once, as they are sent: scripts without their comments, and everything compressed.

The comments, which hold the types that the checker reads, are a fifth of what a browser would load. Lines stay where
they are, so that an error in the browser's console names the line of the file here.
"""

import gzip
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
"""The media type of each kind of file; other files are not served."""
_COMMENT = re.compile(r"^[ \t]*(?:/\*\*.*?\*/|//[^\n]*)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class PageFile:
    """One of the page's files."""

    media_type: str
    content: bytes
    compressed: bytes
    """The content by gzip."""
    etag: str

    @classmethod
    def read(cls, path: Path) -> "PageFile":
        """Reads a file, whose ending must be in TYPES."""
        content = path.read_bytes()
        if path.suffix == ".js":
            content = without_comments(content.decode()).encode()
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        return cls(TYPES[path.suffix], content, gzip.compress(content, 9, mtime=0), etag)


def without_comments(script: str) -> str:
    """Empties the comments that begin a line. No string of a script may have a line that begins as a comment does."""
    return _COMMENT.sub(lambda found: "\n" * found[0].count("\n"), script)
