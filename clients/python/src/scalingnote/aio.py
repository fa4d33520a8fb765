"""The clients for asyncio. Each belongs to the event loop that its first call is made in."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from . import _requests as requests
from ._aio_export import run_export
from ._aio_ingest import AsyncIngest
from ._aio_servers import AsyncServers
from ._aio_stream import AsyncSearchStream
from ._channel import settings_of
from ._export import Cursor
from ._progress import Callbacks, Progress, require_source
from ._requests import MAX_GET_IDS, Page, Plan, next_page, parts
from .answers import (
    Checkpoint,
    Collection,
    CountResult,
    DeleteResult,
    EncodeResult,
    Familiarity,
    FullDocument,
    IngestOutcome,
    IngestSummary,
    SearchResult,
    ServiceInfo,
    StoredDocument,
    TenantCounts,
    TenantDropped,
    TenantUsage,
)
from .errors import ScalingnoteError

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from .types import (
        CallOptions,
        ClientOptions,
        DeleteOptions,
        DropOptions,
        DropTenantOptions,
        EncodeOptions,
        ExportOptions,
        FamiliarityOptions,
        GetOptions,
        IngestOptions,
        Operation,
        ScopeOptions,
        SearchByVectorOptions,
        SearchOptions,
        StreamOptions,
        SwitchOptions,
        TenantOptions,
        TenantsOptions,
        UsageOptions,
    )

T = TypeVar("T")


class _ServiceClient:
    """A client of one service. It holds a connection to each server; close it when done, or use it in an `async with`."""

    _service: str
    _default_address: str

    def __init__(self, address: str | None = None, **options: Unpack[ClientOptions]) -> None:
        """`address` is `host:port` of the service; `types.ClientOptions` has what else there is."""
        given: dict[str, Any] = dict(options)
        self._servers = AsyncServers(settings_of(self._default_address, address, given))

    async def _call(self, plan: Plan[T]) -> T:
        return await self._servers.call(self._service, plan)

    async def close(self) -> None:
        """Ends the connections and every call on them."""
        await self._servers.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class AsyncQueryClient(_ServiceClient):
    """A client of the query service, at `127.0.0.1:7402` by default."""

    _service = "QueryService"
    _default_address = "127.0.0.1:7402"

    async def search(self, **options: Unpack[SearchOptions]) -> SearchResult:
        """Text in, ranked documents out: `query`, `collection`, and what `types.SearchOptions` has."""
        return await self._call(requests.search(options))

    async def search_by_vector(self, **options: Unpack[SearchByVectorOptions]) -> SearchResult:
        """A vector in, ranked documents out: `space`, `vector`, `collection`, and so on.

        The text of the query stays with the caller, who has a query tower of the same space.
        """
        return await self._call(requests.search_by_vector(options))

    async def encode(self, **options: Unpack[EncodeOptions]) -> EncodeResult:
        """Vectors of 1 to 256 `texts`, in order."""
        return await self._call(requests.encode(options))

    async def measure_familiarity(self, **options: Unpack[FamiliarityOptions]) -> Familiarity:
        """How well the query tower knows a `collection`, by a sample of its documents."""
        return await self._call(requests.measure_familiarity(options))

    async def describe(self, **options: Unpack[CallOptions]) -> ServiceInfo:
        """What the service is and which tower it runs."""
        return await self._call(requests.describe(self._service, options))

    def search_stream(self, **options: Unpack[StreamOptions]) -> AsyncSearchStream:
        """Search as you type, over one stream. Close it when the search box is gone."""
        return AsyncSearchStream(self._servers, options)


class AsyncDocumentClient(_ServiceClient):
    """A client of the document service, at `127.0.0.1:7401` by default."""

    _service = "DocumentService"
    _default_address = "127.0.0.1:7401"

    async def ingest(
        self,
        source: Iterable[Operation] | AsyncIterable[Operation],
        *,
        resume: Checkpoint | None = None,
        on_outcome: Callable[[IngestOutcome], Any] | None = None,
        on_checkpoint: Callable[[Checkpoint], Any] | None = None,
        on_reconnect: Callable[[ScalingnoteError, float], Any] | None = None,
        **options: Unpack[IngestOptions],
    ) -> IngestSummary:
        """Sends operations to a `collection` until the source is exhausted and everything is durable.

        A broken connection is made again and goes on after the last watermark: nothing is lost, nothing doubles. An
        operation that is refused is an outcome, not the end. The source is asked for more only while less than
        `window` operations (and 32 MiB) wait for a watermark. The source may be asynchronous, and so may callbacks;
        what they raise ends the ingest.

        To resume in another process, keep what `on_checkpoint` is called with, give it back as `resume`, and give the
        same operations: those up to there are passed over. Where the collection is another one now, or an older copy
        of it, the ingest ends with `COLLECTION_REPLACED` before anything is written.
        """
        progress = Progress(options, resume, Callbacks(on_outcome, on_checkpoint, on_reconnect))
        require_source(source, Iterable, AsyncIterable)
        return await AsyncIngest(self._servers, source, progress).run()

    def export(self, **options: Unpack[ExportOptions]) -> AsyncIterator[FullDocument]:
        """Every document of a `collection` as it came, one tenant's or all.

        A broken connection is made again and goes on after the last document: none is left out, none comes twice.
        Documents that are written meanwhile may come in their old or their new form.
        """
        return run_export(self._servers, Cursor(options))

    async def get_documents(self, **options: Unpack[GetOptions]) -> list[FullDocument]:
        """Documents by `ids`, as they came, in that order; those that are not there are left out.

        Many ids, and large documents, take several calls.
        """
        return await self._get(requests.get_documents(options))

    async def _get(self, plan: Plan[list[FullDocument]]) -> list[FullDocument]:
        size = count = len(plan.request.document_ids)
        if count <= MAX_GET_IDS:
            try:
                return await self._call(plan)
            except ScalingnoteError as error:
                if error.reason != "RESPONSE_TOO_LARGE" or count < 2:
                    raise
                size = (count + 1) // 2
        return [each for part in parts(plan, min(size, MAX_GET_IDS)) for each in await self._get(part)]

    def list_documents(self, **options: Unpack[TenantOptions]) -> AsyncIterator[StoredDocument]:
        """Every document of a tenant in a `collection` as it is stored, page by page."""
        return self._pages(requests.list_documents(options))

    async def _pages(self, plan: Plan[Page[T]]) -> AsyncIterator[T]:
        while True:
            items, token = await self._call(plan)
            for each in items:
                yield each
            if not token:
                return
            plan = next_page(plan, token)

    async def delete(self, **options: Unpack[DeleteOptions]) -> DeleteResult:
        """Deletes documents by `document_ids`, or all that match a `filter`, whatever their versions."""
        return await self._call(requests.delete(options))

    async def count(self, **options: Unpack[ScopeOptions]) -> CountResult:
        """Counts documents and their passages."""
        return await self._call(requests.count(options))

    async def list_collections(self, **options: Unpack[CallOptions]) -> list[Collection]:
        """Every collection of the store, of any space."""
        return await self._call(requests.list_collections(options))

    async def list_aliases(self, **options: Unpack[CallOptions]) -> dict[str, str]:
        """Logical name to physical name."""
        return await self._call(requests.list_aliases(options))

    async def switch_alias(self, **options: Unpack[SwitchOptions]) -> str | None:
        """Points an `alias` at a `physical_name`, in one step; returns where it led before, if it was there."""
        return await self._call(requests.switch_alias(options))

    async def drop_collection(self, **options: Unpack[DropOptions]) -> list[str]:
        """Drops the collection of a `physical_name`; returns the aliases that went with it. It is tried once."""
        return await self._call(requests.drop_collection(options))

    def list_tenants(self, **options: Unpack[TenantsOptions]) -> AsyncIterator[TenantCounts]:
        """Every tenant that has documents and that the caller may see, by name, page by page."""
        return self._pages(requests.list_tenants(options))

    async def tenant_usage(self, **options: Unpack[UsageOptions]) -> TenantUsage:
        """What a `tenant` has, over all collections, and what it may have."""
        return await self._call(requests.tenant_usage(options))

    async def drop_tenant(self, **options: Unpack[DropTenantOptions]) -> TenantDropped:
        """Removes everything of a `tenant`, from all collections or from one; `confirm_tenant` is its name again.

        The service works some seconds at it: call again while the answer is not complete.
        """
        return await self._call(requests.drop_tenant(options))

    async def describe(self, **options: Unpack[CallOptions]) -> ServiceInfo:
        """What the service is and which tower it runs."""
        return await self._call(requests.describe(self._service, options))
