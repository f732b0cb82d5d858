"""The live page: a server on this machine alone, which answers only to who knows the token in its address."""

import secrets
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from gatewright.errors import GatewrightError, OptionError
from gatewright.look.page import assembled
from gatewright.look.payload import described
from gatewright.look.quantised import Blob, packed
from gatewright.look.request_fields import number_of, text_of, whole_number_of
from gatewright.look.session import LiveSession, clamps_of
from gatewright.untrusted.json_text import parse_json

HOST = "127.0.0.1"
TOKEN_HEADER = "x-gatewright-token"
_LARGEST_REQUEST = 1_000_000

Handler = Callable[[Request], Awaitable[Response]]


def application(session: LiveSession, *, token: str, port: int, title: str, text: str) -> Starlette:
    """The application of a live page that shows `text` at first, or the series that the model was trained on.

    Every request needs the token, as `?token=` or in a header, and the host of this server: a page of another origin
    whose name was bound to this address (DNS rebinding) sends its own name.
    """
    hosts = {f"{HOST}:{port}", f"localhost:{port}"}

    def described_first() -> tuple[dict[str, Any], Blob]:
        return described(session.observed(text) if session.reads_texts else session.forecast(), title=title)

    async def guarded(request: Request, call: Handler) -> Response:
        sent = request.headers.get(TOKEN_HEADER) or request.query_params.get("token") or ""
        if request.headers.get("host") not in hosts or not secrets.compare_digest(sent.encode(), token.encode()):
            return PlainTextResponse("forbidden", 403)
        response = await call(request)
        response.headers["Cache-Control"] = "no-store"
        response.headers["Referrer-Policy"] = "no-referrer"  # the token stands in the address
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    async def index(request: Request) -> Response:
        header, blob = await run_in_threadpool(described_first)
        page = assembled(title, {**header, "live": session.options}, packed(blob.content()), live=True)
        return HTMLResponse(page.encode("utf-8", "replace"))

    async def read(request: Request) -> Response:
        asked = await _asked(request)
        content = await run_in_threadpool(session.read, asked)
        return Response(content, media_type="application/octet-stream") if content else Response(status_code=204)

    async def write(request: Request) -> Response:
        asked = await _asked(request)
        options: dict[str, Any] = {
            "length": whole_number_of(asked, "length", 200),
            "temperature": number_of(asked, "temperature", 1.0),
            "seed": whole_number_of(asked, "seed", 0),
            "clamps": clamps_of(asked.get("clamps", [])),
        }
        text = text_of(asked)
        written = await run_in_threadpool(lambda: session.write(text, **options))
        return JSONResponse({"text": written})

    async def refused(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, 400)

    app = Starlette(
        routes=[
            Route("/", index),
            Route("/read", read, methods=["POST"]),
            Route("/write", write, methods=["POST"]),
        ],
        exception_handlers={GatewrightError: refused},
    )
    app.add_middleware(BaseHTTPMiddleware, dispatch=guarded)
    return app


async def _asked(request: Request) -> dict[str, Any]:
    """The JSON object that a request sent."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LARGEST_REQUEST:
            raise OptionError("the request is too large", expected=f"at most {_LARGEST_REQUEST:,} bytes")
    try:
        asked = parse_json(body)
    except ValueError as error:
        raise OptionError("the request is no JSON", got=str(error)) from error
    if not isinstance(asked, dict):
        raise OptionError("the request is no JSON object")
    return asked  # pyright: ignore[reportUnknownVariableType]


def listening(port: int) -> socket.socket:
    """A socket that listens at a port of this machine, at any free one for 0. Raises OptionError where it is in use.

    Requests wait from here on: a browser may ask before the server has started.
    """
    # The protocol is named because asyncio sets TCP_NODELAY only for sockets that name it. Otherwise the body of a
    # small reply waits for the acknowledgement of its head, which Linux delays by 40 ms.
    own = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        own.bind((HOST, port))
        own.listen()
    except OSError as error:
        own.close()
        raise OptionError(
            f"port {port} cannot be used: {error.strerror}",
            do="take another, or 0 for any that is free",
            shell="name another with --port, or leave it out",
        ) from error
    return own


def serve(session: LiveSession, own: socket.socket, *, token: str, title: str, text: str) -> None:
    """Answer at a socket until the process is interrupted."""
    import uvicorn

    port = own.getsockname()[1]
    app = application(session, token=token, port=port, title=title, text=text)
    uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off")).run(sockets=[own])
