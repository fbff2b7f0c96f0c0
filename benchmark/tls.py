"""TLS in front of DynamoDB Local, which knows only HTTP: in AWS a function's first request sets up a TLS connection."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from urllib.parse import urlsplit

import trustme

from local import aws

CHUNK = 65536


@contextlib.contextmanager
def in_front_of(endpoint: str, authority: trustme.CA) -> Iterator[str]:
    """Yield an https:// address of an http:// endpoint, with a certificate of the authority."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(aws.HOST).configure_cert(context)
    started: Future[tuple[int, Callable[[], object]]] = Future()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(endpoint, context, started)))
    thread.start()
    port, stop = started.result()
    try:
        yield f"https://{aws.HOST}:{port}"
    finally:
        stop()
        thread.join()


async def _serve(endpoint: str, context: ssl.SSLContext, started: Future[tuple[int, Callable[[], object]]]) -> None:
    """Until it is stopped. started: gets its port, and what stops it."""
    target, stopped, loop = urlsplit(endpoint), asyncio.Event(), asyncio.get_running_loop()
    writers: list[asyncio.StreamWriter] = []

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:  # start_server(ssl=...) would leave a transport open if it stopped during a handshake
            await writer.start_tls(context)
            to_reader, to_writer = await asyncio.open_connection(target.hostname, target.port)
        except OSError:  # the client does not trust the certificate
            writer.close()
            return
        writers.append(to_writer)
        await asyncio.gather(_copy(reader, to_writer), _copy(to_reader, writer))

    server = await asyncio.start_server(connect, aws.HOST, 0)
    started.set_result((server.sockets[0].getsockname()[1], lambda: loop.call_soon_threadsafe(stopped.set)))
    await stopped.wait()
    server.close()
    connections = asyncio.all_tasks() - {asyncio.current_task()}
    for each in connections:
        each.cancel()
    await asyncio.gather(*connections, return_exceptions=True)
    for writer in writers:
        writer.transport.abort()
    await asyncio.sleep(0)  # the loop closes the transports


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    except (OSError, asyncio.CancelledError):
        pass  # the client closed the connection, or the benchmark ends
    finally:
        writer.close()
