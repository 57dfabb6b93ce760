"""Serves the annotation of a recipe until it is interrupted."""

import contextlib
import errno
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

import uvicorn

from annotation_ui.accounts.people import invite, link
from annotation_ui.app import make_app
from annotation_ui.database.tables import LEAD
from annotation_ui.guard import Application
from annotation_ui.protocol import BoundedProtocol
from annotation_ui.settings import address_file
from annotation_ui.tool import Tool, open_tool
from curation.errors import UserError
from curation.printing import show, tell
from curation.recipe import Recipe

KEEP_ALIVE = 75
"""Seconds for which an idle connection stays open: people think longer than uvicorn's five."""
SWITCH_SECONDS = 0.0005
"""Longest time that the thread which writes waits for the one that answers, or the other way round."""
FILL_SECONDS = 1.5
"""Longest time that the first people wait for the first images; more images come while they vote."""
LOCAL = ("127.0.0.1", "::1", "localhost")
_OWN = ("127.0.0.1", "localhost", "[::1]")
_PORT = re.compile(r":\d+$")
_USUAL = {"http": ":80", "https": ":443"}  # the ports that an address need not name, and which browsers leave out


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens, and how people reach it.

    Args:
        host: the address to listen on; one that other machines reach needs `url`, so that links are right.
        port: the port; 0 takes a free one.
        url: the public address, if there is a proxy in front or other machines are to reach the server.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    url: str | None = None


def serve(
    recipe: Recipe,
    address: Address,
    tune: Callable[[], Application] | None = None,
    announce: Callable[[str], None] = show,
) -> None:
    """Serves until Ctrl-C.

    Args:
        recipe: the recipe.
        address: where to listen.
        tune: makes the application of `curate tune`, which leads find at /tune/.
        announce: called with one line, once people can come.

    Raises:
        UserError: the address cannot be used, or the database's address is wrong.
        StorageFailed: the database cannot be reached.
    """
    public = _public(address)
    with _listening(address) as listening, contextlib.closing(open_tool(recipe)) as tool:
        port = listening.getsockname()[1]
        base = f"{public.scheme}://{public.netloc}" if public else f"http://{_shown(address.host)}:{port}"
        hosts = _names(public.scheme, [public.netloc]) if public else _names("http", [f"{n}:{port}" for n in _OWN])
        secure = bool(public and public.scheme == "https")
        app = make_app(tool, hosts, secure, tune)
        config = uvicorn.Config(
            app, http=BoundedProtocol, ws="none", log_level="error", access_log=False, server_header=False,
            timeout_keep_alive=KEEP_ALIVE, proxy_headers=public is not None, timeout_graceful_shutdown=5,
        )  # fmt: skip
        sys.setswitchinterval(SWITCH_SECONDS)
        stopped = threading.Event()
        keeper = threading.Thread(target=tool.keep_up, args=(stopped,), name="keeper", daemon=True)
        keeper.start()
        tool.filled.wait(FILL_SECONDS)
        with contextlib.suppress(OSError):  # without it, invitations are told the address
            address_file(recipe).write_text(f"{base}\n", encoding="utf-8")
        announce(f"{recipe.name}: sign in as the lead: {lead_link(tool, base)}")
        if tool.filled.is_set() and tool.is_empty():
            tell("curate: no image is selected yet; run `curate run RECIPE` meanwhile: its images join by themselves")
        if lack := tool.lacking_gold():
            tell(f"curate: {lack}")
        try:
            with contextlib.suppress(KeyboardInterrupt):
                uvicorn.Server(config).run(sockets=[listening])
        finally:
            stopped.set()
            keeper.join(timeout=10)


def lead_link(tool: Tool, base: str) -> str:
    """Makes a sign-in link for the person named "lead"; earlier ones go on to work."""
    days = tool.recipe.annotation.link_days
    _, token = tool.database.write(lambda c: invite(c, tool.clock, "lead", LEAD, days, keep=True))
    return link(base, token)


def _public(address: Address) -> SplitResult | None:
    """Returns the public address, its host name as browsers send it: in small letters, and in ASCII."""
    if address.url is None:
        if address.host not in LOCAL:
            detail = "say by --url how people reach it, such as https://annotate.example.org"
            raise UserError(f"--host {address.host}: {detail}")
        return None
    try:
        parts = urlsplit(address.url)
        name = (parts.hostname or "").encode("idna").decode()
        netloc = _shown(name) if parts.port is None else f"{_shown(name)}:{parts.port}"
    except ValueError:  # no such port, or no such host name
        parts, name, netloc = urlsplit(""), "", ""
    if parts.scheme not in _USUAL or not name or "@" in parts.netloc or parts.path.strip("/") or parts.query:
        raise UserError(f"--url {address.url}: expected an address such as https://annotate.example.org")
    return parts._replace(netloc=netloc)


def _names(scheme: str, addresses: Iterable[str]) -> frozenset[str]:
    """Returns the values of the header Host by which browsers name some addresses, with and without a usual port."""
    shortened = [address.removesuffix(_USUAL[scheme]) for address in addresses]
    return frozenset(shortened) | {name + _USUAL[scheme] for name in shortened if not _PORT.search(name)}


@contextlib.contextmanager
def _listening(address: Address):  # type: ignore[no-untyped-def]
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((address.host, address.port))
            listening.listen(256)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            if isinstance(error, socket.gaierror) or getattr(error, "errno", None) == errno.EADDRNOTAVAIL:
                raise UserError(f"--host {address.host}: is no address of this machine: {reason}") from None
            raise UserError(f"--port {address.port}: cannot be used: {reason}; give another") from None
        yield listening


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
