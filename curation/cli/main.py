"""The entry point of `curate`, which reports a user's mistake as one line and an exit status, never as a traceback."""

import signal
import sys

import typer

from curation.cli import annotation as _annotation  # noqa: F401  registers its verbs
from curation.cli import stages as _stages  # noqa: F401
from curation.cli import views as _views  # noqa: F401
from curation.cli.app import app
from curation.cli.terminal import INTERRUPTED, stop, usage_error, with_recipe
from curation.errors import StageError, UserError
from curation.printing import tell_traceback


def main() -> None:
    """Runs the command line; a user's mistake is reported as one line and an exit status, never as a traceback."""
    status = None
    sys.excepthook = tell_traceback  # the message of an error may hold a text from the web
    signal.signal(signal.SIGTERM, _interrupted)  # ends the same way as Ctrl-C
    try:
        status = app(standalone_mode=False, prog_name="curate")
    except UserError as error:
        stop(with_recipe(error), 2, error.key)
    except StageError as error:
        stop(str(error), 1)
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except Exception as error:
        usage_error(error)
    if status == INTERRUPTED:  # typer returns this status for Ctrl-C
        stop("stopped; run the same command again to go on where it was", INTERRUPTED)
    sys.exit(status if isinstance(status, int) else 0)


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt  # not SIGINT, which shells make their background jobs ignore
