"""Git's smart HTTP protocol: a request goes to `git http-backend` over the repositories of a directory."""

import asyncio
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response


async def git_backend(directory: Path, request: Request, body: bytes) -> Response:
    """What git answers; whoever asks may read and write."""
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "GIT_PROJECT_ROOT": str(directory),
        "GIT_HTTP_EXPORT_ALL": "1",
        "GIT_CONFIG_NOSYSTEM": "1",
        "HOME": "/nonexistent",
        "PATH_INFO": request.url.path,
        "QUERY_STRING": request.url.query,
        "REQUEST_METHOD": request.method,
        "REMOTE_USER": "somebody",
        "CONTENT_TYPE": request.headers.get("content-type", ""),
        "CONTENT_LENGTH": str(len(body)),
        "GIT_PROTOCOL": request.headers.get("git-protocol", ""),
    }
    if encoding := request.headers.get("content-encoding"):
        environment["HTTP_CONTENT_ENCODING"] = encoding
    process = await asyncio.create_subprocess_exec(
        "git",
        "http-backend",
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate(body)
    head, _, content = said.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
    status = int(headers.pop("Status", "200 OK").split()[0])
    return Response(content, status, headers=headers)
