"""TLS in front of DynamoDB Local, which knows only HTTP: in AWS a function's first request sets up a TLS connection."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import trustme

from local import aws

CHUNK = 65536


@contextlib.contextmanager
def in_front_of(endpoint: str, authority: trustme.CA) -> Iterator[str]:
    """An https:// address of the http:// endpoint, with a certificate of the authority, until the block ends."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(aws.HOST).configure_cert(context)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        port = asyncio.run_coroutine_threadsafe(_serve(endpoint, context), loop).result()
        yield f"https://{aws.HOST}:{port}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


async def _serve(endpoint: str, context: ssl.SSLContext) -> int:
    target = urlsplit(endpoint)

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection(target.hostname, target.port)
        await asyncio.gather(_copy(reader, to_writer), _copy(to_reader, writer))

    server = await asyncio.start_server(connect, aws.HOST, 0, ssl=context)
    port: int = server.sockets[0].getsockname()[1]
    return port


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()
