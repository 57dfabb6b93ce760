"""The web application of `curate tune`: a page for one person on this machine, and the requests that it makes.

Every request must carry the token of this start (once in the address, then in a cookie), must name this machine as its
host, and must come from no other site. The page sends only numbers; all SQL comes from the recipe.
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse
from starlette.exceptions import HTTPException

from curation.errors import StageError, UserError
from curation.views.tune.loaded import NoSuchRow
from curation.views.tune.tuner import Question, Rows, Tuner, Writing

SIDES = (160, 1024)
"""Long sides of a thumbnail and of the enlarged image, in pixels."""
BODY = 2_000_000
"""Largest number of bytes of a request's body, which is read whole; ten thousand moved thresholds take one million."""
PAGE = Path(__file__).parent / "page"
_FILES = {f"/{path.name}": path for path in PAGE.iterdir()} | {"/": PAGE / "index.html"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def make_app(tuner: Tuner) -> FastAPI:
    """Makes the application, which answers whoever asks; see `guard_app`.

    Args:
        tuner: the recipe being tuned.
    """
    app = FastAPI(title="curate tune", docs_url=None, redoc_url=None, openapi_url=None)
    for path, file in _FILES.items():
        app.get(path)(_page(file))
    _add_answers(app)
    _add_questions(app, tuner)
    return app


def _page(file: Path) -> Callable[[], Awaitable[Response]]:
    async def page() -> Response:
        return FileResponse(file)

    return page


def guard_app(app: FastAPI, token: str, port: int) -> FastAPI:
    """Lets an application answer only who knows a token, on this machine.

    Args:
        app: the application.
        token: the secret that every request must carry, first as `?token=` in the address, then in the cookie.
        port: the port the application is served on, which the Host header must name.

    Returns:
        the same application.
    """
    hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
    cookie = f"curate_tune_{port}"  # browsers share cookies between ports: two of these pages must not share one

    @app.middleware("http")
    async def guard(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await _refused(request)
        if response is None and request.url.path == "/" and "token" in request.query_params:
            response = RedirectResponse("/", 303)  # keeps the token out of the browser's history
            response.set_cookie(cookie, token, httponly=True, samesite="strict")
        response = response or await answer(request)
        for name, value in _HEADERS.items():
            response.headers[name] = value
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    async def _refused(request: Request) -> Response | None:
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        if host not in hosts or (origin is not None and origin != f"http://{host}"):
            return _error(403, "this page is served to this machine only")
        sent = request.cookies.get(cookie, "")
        if request.url.path == "/" and "token" in request.query_params:
            sent = request.query_params["token"]
        if not secrets.compare_digest(sent.encode(), token.encode()):
            return _error(403, "this address needs the token that `curate tune` printed when it started")
        if request.method == "POST" and request.headers.get("content-type", "").split(";")[0] != "application/json":
            return _error(415, "send JSON")
        length = request.headers.get("content-length", "")
        unknown = "transfer-encoding" in request.headers or not (length.isdecimal() and len(length) <= len(str(BODY)))
        if request.method == "POST" and (unknown or int(length) > BODY):
            return _error(413, f"a question has a Content-Length, of at most {BODY:,} bytes")
        return None

    return app


def _add_answers(app: FastAPI) -> None:
    """Adds handlers that answer errors as JSON with one line of text, which the page shows."""

    @app.exception_handler(UserError)
    @app.exception_handler(StageError)
    async def explain(request: Request, error: Exception) -> Response:
        return _error(404 if isinstance(error, NoSuchRow) else 400, str(error))

    @app.exception_handler(RequestValidationError)
    async def no_question(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return _error(422, f"{'.'.join(map(str, first['loc']))}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def no_answer(request: Request, error: HTTPException) -> Response:
        return _error(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(OSError)
    @app.exception_handler(pa.ArrowException)
    async def no_file(request: Request, error: Exception) -> Response:
        return _error(500, f"a file of the workspace cannot be read: {' '.join(str(error).split())[:200]}")


def _add_questions(app: FastAPI, tuner: Tuner) -> None:
    """Adds the page's requests. They are not `async`: each runs in a thread, and `Tuner` admits one at a time."""

    @app.get("/api/state")
    def state() -> Any:
        return tuner.state()

    @app.post("/api/move")
    def move(question: Question) -> Any:
        return tuner.move(question)

    @app.post("/api/histogram")
    def histogram(question: Question) -> Any:
        return tuner.histogram(question)

    @app.post("/api/keys")
    def keys(rows: Rows) -> Any:
        return tuner.keys(rows.rows)

    @app.get("/api/image/{row}")
    def image(row: int) -> Any:
        return tuner.images.story(row)

    @app.post("/api/diff")
    def diff(question: Question) -> Any:
        return tuner.diff(question)

    @app.post("/api/write")
    def write(writing: Writing) -> Any:
        return tuner.write(writing)

    @app.get("/picture/{row}/{side}")
    def picture(row: int, side: int) -> Response:
        if side not in SIDES:
            return _error(404, f"pictures are {SIDES[0]} or {SIDES[1]} pixels wide")
        jpeg = tuner.images.picture(row, side)
        if jpeg is None:
            return _error(404, "the image is gone or cannot be decoded")
        return Response(jpeg, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    # JSON may contain an unpaired surrogate, which UTF-8 cannot encode.
    return JSONResponse({"error": message.encode(errors="replace").decode()}, status, headers)
