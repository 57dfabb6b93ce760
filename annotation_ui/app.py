"""Puts the web application together: the requests of every room, the page's files, the errors, and the guard in front.

No path of a request reaches the file system: the page's files are read once, when the application is made.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import anyio.to_thread
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DataError
from starlette.exceptions import HTTPException

from annotation_ui.database.engine import StorageFailed
from annotation_ui.guard import TUNE, Application, Guard
from annotation_ui.lead_only import LeadOnly
from annotation_ui.page_files import TYPES, PageFile
from annotation_ui.queue.rules import Refused
from annotation_ui.routes import guide, lead, pictures, reviews, sign_in, voting
from annotation_ui.routes.calling import Refusal
from annotation_ui.tool import Tool
from curation.errors import StageError, UserError, in_one_line

PAGE = Path(__file__).parent / "page"
THREADS = 24
"""Number of requests that are worked on at once; further ones wait."""
_NOT_FOUND = ("no_project", "no_item")
"""Codes of refusals that mean that something is not there."""


def make_app(
    tool: Tool, hosts: frozenset[str] = frozenset(), secure: bool = False, tune: Callable[[], Application] | None = None
) -> Application:
    """Makes the application.

    Args:
        tool: what it works with.
        hosts: the values of the Host header that are admitted; empty admits all.
        secure: whether browsers reach the server by HTTPS alone.
        tune: makes the application of `curate tune`, which is then shown to leads at /tune/.
    """
    app = FastAPI(
        title="curate annotate",
        summary="People vote on images; every image gets exactly the votes that are asked.",
        docs_url=None,  # the usual pages of documentation load scripts from elsewhere
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    app.state.tool, app.state.secure, app.state.tune = tool, secure, tune
    for router in (sign_in.router, voting.router, guide.router, pictures.router, reviews.router, lead.router):
        app.include_router(router)
    if tune is not None:
        app.mount(TUNE.rstrip("/"), LeadOnly(tool, tune))
    _add_page(app)
    _add_errors(app)
    app.router.on_startup.append(_limit_threads)
    return Guard(app, hosts, secure)


async def _limit_threads() -> None:
    anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS


def _add_page(app: FastAPI) -> None:
    """Serves the page's files from memory, below /page; `/` is the voting page and `/lead` the lead's."""
    files = {path.relative_to(PAGE).as_posix(): path for path in PAGE.rglob("*") if path.suffix in TYPES}
    addresses = {f"/page/{name}": path for name, path in files.items()}
    starts = {"/": "index.html", "/lead": "lead/index.html"}
    addresses |= {address: files[name] for address, name in starts.items() if name in files}
    for address, path in addresses.items():
        app.get(address, include_in_schema=False)(_file(path))


def _file(path: Path):  # type: ignore[no-untyped-def]
    file = PageFile.read(path)
    # A browser asks each time whether a file has changed, and only then loads it.
    headers = {"ETag": file.etag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}

    async def answer(request: Request) -> Response:
        if request.headers.get("if-none-match") == file.etag:
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            compressed = {"Content-Encoding": "gzip"}
            return Response(file.compressed, media_type=file.media_type, headers=headers | compressed)
        return Response(file.content, media_type=file.media_type, headers=headers)

    return answer


def _add_errors(app: FastAPI) -> None:
    """Adds handlers that answer errors as JSON with a code and one line of text."""

    @app.exception_handler(Refusal)
    async def refusal(request: Request, error: Refusal) -> Response:
        return _error(error.status, error.code, str(error), error.headers)

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        return _error(404 if error.code in _NOT_FOUND else 409, error.code, str(error))

    @app.exception_handler(StorageFailed)
    async def storage(request: Request, error: StorageFailed) -> Response:
        return _error(507, "storage", "the database cannot be used now, and nothing was stored")  # without its address

    @app.exception_handler(DataError)
    async def no_value(request: Request, error: DataError) -> Response:
        # Such as a NUL in a text, which PostgreSQL has no place for.
        return _error(422, "body", f"a value cannot be stored: {in_one_line(error.orig or error, 120)}")

    @app.exception_handler(UserError)
    @app.exception_handler(StageError)
    async def explained(request: Request, error: Exception) -> Response:
        return _error(400, "wrong", str(error))

    @app.exception_handler(RequestValidationError)
    async def no_body(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return _error(422, "body", f"{'.'.join(map(str, first['loc']))}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def no_answer(request: Request, error: HTTPException) -> Response:
        return _error(error.status_code, "http", str(error.detail), error.headers)


def _error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    # JSON may contain an unpaired surrogate, which UTF-8 cannot encode.
    text = message.encode(errors="replace").decode()
    return JSONResponse({"error": {"code": code, "message": text}}, status, headers)
