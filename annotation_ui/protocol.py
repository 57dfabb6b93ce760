"""Bounds the head of a request, which uvicorn's faster parser would collect in memory at any length."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD = 128_000
"""Largest number of bytes of a request's line and headers, about."""


class BoundedProtocol(HttpToolsProtocol):
    """A connection that is ended if a head is too large."""

    _head = 0
    _in_head = True
    _coming = 0

    def data_received(self, data: bytes) -> None:
        """Takes in what has come."""
        self._coming = len(data)
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head += len(data)
            if self._head > HEAD:
                self.send_400_response("The request's headers are too large.")

    def on_headers_complete(self) -> None:
        """Notes that a body follows."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Notes that the next request follows."""
        self._in_head, self._head = True, -self._coming  # what has come is of this request
        super().on_message_complete()
