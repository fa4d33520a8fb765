"""An export over as many connections as it takes, with asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import grpc.aio

from ._aio_ingest import EOF
from ._aio_servers import AsyncServer, AsyncServers
from ._export import Cursor, silent
from ._proto import method
from ._servers import serialize
from .answers import FullDocument
from .errors import ScalingnoteError, from_rpc


async def run_export(servers: AsyncServers, cursor: Cursor) -> AsyncIterator[FullDocument]:
    """Every document, each once."""
    open_timeout = servers.settings.timeout
    server: AsyncServer | None = None
    path, read = method("DocumentService", "Export")
    while True:
        server = await servers.pick(time.monotonic() + open_timeout, server)
        start = server.channel.unary_stream(path, request_serializer=serialize, response_deserializer=read)
        call = start(cursor.request, metadata=servers.metadata(cursor.metadata))
        is_open = False
        limit = cursor.limit(is_open, open_timeout)
        try:
            while (message := await asyncio.wait_for(call.read(), limit)) is not EOF:
                document = cursor.take(message)
                is_open = True
                limit = cursor.limit(is_open, open_timeout)
                if document is not None:
                    yield document
            return
        except grpc.aio.AioRpcError as failed:
            servers.check_open()
            error = from_rpc(failed)
        except (TimeoutError, asyncio.TimeoutError):
            error = silent(server.address, limit)
        except asyncio.CancelledError:
            # Closing the client cancels its calls, too.
            servers.check_open()
            raise
        except ScalingnoteError as replaced:
            error = replaced
        finally:
            call.cancel()
        await asyncio.sleep(cursor.patience.next(error))
