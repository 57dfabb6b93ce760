"""`curate tune`: a page on this machine that shows what each threshold of a recipe does, before it is written."""

from collections.abc import Callable
from pathlib import Path

from curation.printing import show
from curation.scoring.opened import Opened


def serve(recipe_file: Path, opened: Opened, port: int = 0, announce: Callable[[str], None] = show) -> None:
    """Serves the page on 127.0.0.1 until interrupted.

    Args:
        recipe_file: the recipe's YAML file, into which moved thresholds can be written.
        opened: the recipe as read from the file, overrides applied.
        port: the port to serve on; 0 takes a free one.
        announce: called with one line, the address with its token, when the page is ready.

    Raises:
        UserError: nothing is indexed, a predicate is not admitted, or the port is not free.
        StageError: a sidecar does not fit its samples file.
    """
    import contextlib
    import secrets
    import socket

    import uvicorn

    from curation.errors import UserError
    from curation.views.tune.app import guard_app, make_app
    from curation.views.tune.tuner import Tuner

    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port))
            listening.listen()  # who comes before the server runs waits for it
        except (OSError, OverflowError) as error:
            raise UserError(f"--port {port}: cannot be used: {getattr(error, 'strerror', None) or error}") from None
        port, token = listening.getsockname()[1], secrets.token_urlsafe(24)
        tuner = Tuner(recipe_file, opened)
        announce(f"http://127.0.0.1:{port}/?token={token}")
        app = guard_app(make_app(tuner), token, port)
        config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
        with contextlib.closing(tuner.images), contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])
