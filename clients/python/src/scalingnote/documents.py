"""The client of the document service."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from . import _requests as requests
from ._client import ServiceClient
from ._export import Cursor, run_export
from ._ingest import Ingest
from ._progress import Callbacks, Progress, require_source
from ._requests import MAX_GET_IDS, Page, Plan, next_page, parts
from .answers import (
    Checkpoint,
    Collection,
    CountResult,
    DeleteResult,
    FullDocument,
    IngestOutcome,
    IngestSummary,
    ServiceInfo,
    StoredDocument,
    TenantCounts,
    TenantDropped,
    TenantUsage,
)
from .errors import ScalingnoteError

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .types import (
        CallOptions,
        DeleteOptions,
        DropOptions,
        DropTenantOptions,
        ExportOptions,
        GetOptions,
        IngestOptions,
        Operation,
        ScopeOptions,
        SwitchOptions,
        TenantOptions,
        TenantsOptions,
        UsageOptions,
    )


T = TypeVar("T")


class DocumentClient(ServiceClient):
    """A client of the document service, at `127.0.0.1:7401` by default; safe to use from several threads."""

    _service = "DocumentService"
    _default_address = "127.0.0.1:7401"

    def ingest(
        self,
        source: Iterable[Operation],
        *,
        resume: Checkpoint | None = None,
        on_outcome: Callable[[IngestOutcome], None] | None = None,
        on_checkpoint: Callable[[Checkpoint], None] | None = None,
        on_reconnect: Callable[[ScalingnoteError, float], None] | None = None,
        **options: Unpack[IngestOptions],
    ) -> IngestSummary:
        """Sends operations to a `collection` until the source is exhausted and everything is durable.

        A broken connection is made again and goes on after the last watermark: nothing is lost, nothing doubles. An
        operation that is refused is an outcome, not the end. The source is asked for more only while less than
        `window` operations (and 32 MiB) wait for a watermark. Source and callbacks run on the caller's thread; what they
        raise ends the ingest.

        To resume in another process, keep what `on_checkpoint` is called with, give it back as `resume`, and give the
        same operations: those up to there are passed over. Where the collection is another one now, or an older copy
        of it, the ingest ends with `COLLECTION_REPLACED` before anything is written.
        """
        progress = Progress(options, resume, Callbacks(on_outcome, on_checkpoint, on_reconnect))
        require_source(source, Iterable)
        return Ingest(self._servers, source, progress).run()

    def export(self, **options: Unpack[ExportOptions]) -> Iterator[FullDocument]:
        """Every document of a `collection` as it came, one tenant's or all.

        A broken connection is made again and goes on after the last document: none is left out, none comes twice.
        Documents that are written meanwhile may come in their old or their new form.
        """
        return run_export(self._servers, Cursor(options))

    def get_documents(self, **options: Unpack[GetOptions]) -> list[FullDocument]:
        """Documents by `ids`, as they came, in that order.

        Those that are not there are left out, and an id that is given twice comes once.

        Many ids, and large documents, take several calls.
        """
        return self._get(requests.get_documents(options))

    def _get(self, plan: Plan[list[FullDocument]]) -> list[FullDocument]:
        size = count = len(plan.request.document_ids)
        if count <= MAX_GET_IDS:
            try:
                return self._call(plan)
            except ScalingnoteError as error:
                if error.reason != "RESPONSE_TOO_LARGE" or count < 2:
                    raise
                size = (count + 1) // 2
        return [each for part in parts(plan, min(size, MAX_GET_IDS)) for each in self._get(part)]

    def list_documents(self, **options: Unpack[TenantOptions]) -> Iterator[StoredDocument]:
        """Every document of a tenant in a `collection` as it is stored, page by page."""
        return self._pages(requests.list_documents(options))

    def _pages(self, plan: Plan[Page[T]]) -> Iterator[T]:
        while True:
            items, token = self._call(plan)
            yield from items
            if not token:
                return
            plan = next_page(plan, token)

    def delete(self, **options: Unpack[DeleteOptions]) -> DeleteResult:
        """Deletes documents by `document_ids`, or all that match a `filter`, whatever their versions."""
        return self._call(requests.delete(options))

    def count(self, **options: Unpack[ScopeOptions]) -> CountResult:
        """Counts documents and their passages."""
        return self._call(requests.count(options))

    def list_collections(self, **options: Unpack[CallOptions]) -> list[Collection]:
        """Every collection of the store, of any space."""
        return self._call(requests.list_collections(options))

    def list_aliases(self, **options: Unpack[CallOptions]) -> dict[str, str]:
        """Logical name to physical name."""
        return self._call(requests.list_aliases(options))

    def switch_alias(self, **options: Unpack[SwitchOptions]) -> str | None:
        """Points an `alias` at a `physical_name`, in one step; returns where it led before, if it was there."""
        return self._call(requests.switch_alias(options))

    def drop_collection(self, **options: Unpack[DropOptions]) -> list[str]:
        """Drops the collection of a `physical_name`; returns the aliases that went with it. It is tried once."""
        return self._call(requests.drop_collection(options))

    def list_tenants(self, **options: Unpack[TenantsOptions]) -> Iterator[TenantCounts]:
        """Every tenant that has documents and that the caller may see, by name, page by page."""
        return self._pages(requests.list_tenants(options))

    def tenant_usage(self, **options: Unpack[UsageOptions]) -> TenantUsage:
        """What a `tenant` has, over all collections, and what it may have."""
        return self._call(requests.tenant_usage(options))

    def drop_tenant(self, **options: Unpack[DropTenantOptions]) -> TenantDropped:
        """Removes everything of a `tenant`, from all collections or from one; `confirm_tenant` is its name again.

        The service works some seconds at it: call again while the answer is not complete.
        """
        return self._call(requests.drop_tenant(options))

    def describe(self, **options: Unpack[CallOptions]) -> ServiceInfo:
        """What the service is and which tower it runs."""
        return self._call(requests.describe(self._service, options))
