"""What type checkers have to take, and (the lines with an ignore) to refuse. It is checked, and never run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import Future

import grpc

from scalingnote import (
    AsyncDocumentClient,
    AsyncQueryClient,
    Checkpoint,
    DocumentClient,
    Filter,
    FullDocument,
    Operation,
    QueryClient,
    SearchResult,
)

FARM: Filter = {"must": [{"field": "metadata.place", "equals": "farm"}], "must_not": [{"filter": {}}]}


def searches(client: QueryClient) -> float:
    result = client.search(collection="c", query="q", limit=3, filter=FARM, mode="hybrid", timeout=1.5)
    client.search(collection="c", query="q", treshold=1)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    client.search(limit=3)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    client.search(collection="c", query=1)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    client.search(collection="c", query="q", mode="d")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    with client.search_stream() as stream:
        waiting: Future[SearchResult | None] = stream.submit(collection="c", query="q")
        stream.search(collection="c", query="q", metadata={})  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    waiting.result()
    return result.hits[0].score


def ingests(client: DocumentClient, kept: Checkpoint | None) -> int:
    operations: list[Operation] = [{"id": "a", "text": "b"}, {"delete": "c"}, {"patch": "d", "set": {"e": 1}}]
    keep: list[Checkpoint] = []
    done = client.ingest(operations, collection="c", resume=kept, on_checkpoint=keep.append)
    limit: float | None = client.tenant_usage(tenant="acme").max_requests_per_second
    client.tenant_usage()  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    left: bool = limit is None or client.drop_tenant(tenant="acme", confirm_tenant="acme").complete
    client.drop_tenant(tenant="acme", dry_run=left, tenants="b")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    client.ingest("abc", collection="c")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    return done.watermark


async def asynchronous() -> list[str]:
    async def source() -> AsyncIterator[Operation]:
        yield {"id": "a", "text": "b"}

    options = grpc.ssl_channel_credentials()
    async with AsyncDocumentClient(addresses=["a:1", "b:2"], credentials=options) as documents:
        await documents.ingest(source(), collection="c", on_outcome=lambda outcome: print(outcome.kind))
        found: list[FullDocument] = [each async for each in documents.export(collection="c")]
    async with AsyncQueryClient("a:1", timeout=5) as queries:
        hits = (await queries.search(collection="c", query="q")).hits
        AsyncQueryClient(adress="a:1")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    return [each.id for each in found] + [each.id for each in hits]
