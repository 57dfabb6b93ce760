"""Shows an application of its own to leads alone, and makes it when the first of them comes."""

import threading
from collections.abc import Callable

import anyio.to_thread

from annotation_ui.accounts.people import Person, person_of
from annotation_ui.guard import Application, Receive, Scope, Send, answer_error, session_of
from annotation_ui.tool import Tool
from curation.errors import StageError, UserError


class LeadOnly:
    """Wraps an application that knows nothing of people.

    Args:
        tool: the server's database and clock.
        make: makes the application; it may take long, and raise UserError or StageError.
    """

    def __init__(self, tool: Tool, make: Callable[[], Application]) -> None:
        self._tool, self._make = tool, make
        self._made: Application | None = None
        self._lock = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        person = await anyio.to_thread.run_sync(self._person, scope)
        if person is None:
            await answer_error(send, 401, "signed_out", "sign in first")
        elif not person.is_lead:
            await answer_error(send, 403, "role", "this is for a lead to do")
        else:
            try:
                application = await anyio.to_thread.run_sync(self._application)
            except (UserError, StageError) as error:
                await answer_error(send, 400, "wrong", str(error))
                return
            await application(scope, receive, send)

    def _person(self, scope: Scope) -> Person | None:
        return self._tool.database.read(lambda c: person_of(c, self._tool.clock(), session_of(scope)))

    def _application(self) -> Application:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made
