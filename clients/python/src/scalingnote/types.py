"""What callers give: the names that each method takes, for type checkers and at run time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Optional, TypedDict, Union

import grpc

FusionMethod = Literal["ranks", "scores", "distribution"]
Mode = Literal["dense", "sparse", "hybrid"]
Metadata = Mapping[str, Union[str, bytes]]
FilterValue = Union[str, int, float, bool]


class RangeBounds(TypedDict, total=False):
    """At least one of them."""

    gt: float
    gte: float
    lt: float
    lte: float


class Condition(TypedDict, total=False):
    """`field` with exactly one of `equals`, `any_of`, `range` and `exists`; or `filter` alone.

    A field is `metadata.KEY` (dots go into nested objects), `document_id` or `version`.
    """

    field: str
    equals: FilterValue
    any_of: Sequence[FilterValue]
    range: RangeBounds
    exists: Literal[True]
    filter: Filter


class Filter(TypedDict, total=False):
    """Holds where every `must`, at least one `should` (if any is given) and no `must_not` does."""

    must: Sequence[Condition]
    should: Sequence[Condition]
    must_not: Sequence[Condition]


class FusionOptions(TypedDict, total=False):
    """How a hybrid search fuses its legs; what is left out is as the service has it for the collection."""

    method: FusionMethod
    """What a place in a leg is worth: by its rank, by its score, or by its score in the leg's distribution."""
    k: int
    """Of the method "ranks" alone, 1 to 1000."""
    dense_weight: float
    """Weight of the dense leg, 0 to 1; the sparse leg has the rest."""


class FacetOptions(TypedDict, total=False):
    """Asks for the values of a field in the result set."""

    field: str
    """`metadata.KEY`; of a list, each element counts. It has to be given."""
    limit: int
    """How many values, the most frequent first, 1 to 100; 10 by default."""


class SortOptions(TypedDict, total=False):
    """An order of the result set. Documents without the field come last."""

    field: str
    """`metadata.KEY`, `document_id` or `version`. It has to be given."""
    descending: bool


class ClientOptions(TypedDict, total=False):
    """How a client reaches its service."""

    addresses: Sequence[str]
    """`host:port` of each server of the service, instead of `address`: calls go to those that serve, in turn."""
    timeout: float
    """How long a call may take, retries included, in seconds; 10 by default."""
    attempts: Optional[int]
    """Attempts of a call in all; by default as many as the timeout and the retry budget allow."""
    wait_for_ready: bool
    """Whether a call waits for a server where none is connected, True by default; otherwise it fails at once."""
    credentials: Optional[grpc.ChannelCredentials]
    """TLS, as `grpc.ssl_channel_credentials()` makes it, instead of `ca`, `client_cert` and `client_key`."""
    api_key: Optional[str]
    """An API key, `sn_...`, or a token; `SCALINGNOTE_API_KEY` where the client is given no credentials at all."""
    api_key_file: Optional[str]
    """A file that holds it and nothing else, read again when it changes; `SCALINGNOTE_API_KEY_FILE`."""
    ca: Optional[str]
    """PEM file with the authorities of the services, which turns TLS on; `SCALINGNOTE_CA`."""
    client_cert: Optional[str]
    """PEM file with the client's certificate and its chain; `SCALINGNOTE_CLIENT_CERT`."""
    client_key: Optional[str]
    """PEM file with its private key; `SCALINGNOTE_CLIENT_KEY`."""
    plaintext: Optional[bool]
    """Whether a key may go to another machine without TLS; `SCALINGNOTE_PLAINTEXT`."""
    metadata: Optional[Metadata]
    """What every call carries besides."""
    channel_options: Optional[Mapping[str, Union[str, int]]]
    """Options of the gRPC channels, over our own."""


class StreamOptions(TypedDict, total=False):
    """What goes with a stream."""

    traceparent: Optional[str]
    """W3C trace context that it belongs to."""
    metadata: Optional[Metadata]
    """What it carries besides, by key in lower case; keys that end with `-bin` carry bytes."""


class CallOptions(StreamOptions, total=False):
    """What bounds a call."""

    timeout: Optional[float]
    """Seconds, retries included; the client's by default."""


class QueryOptions(TypedDict, total=False):
    """What bounds a query of a search stream."""

    timeout: Optional[float]
    traceparent: Optional[str]


class _Where(TypedDict):
    collection: str


class _SearchScope(TypedDict, total=False):
    collection: Optional[str]
    """Logical name; by default the service's default collection, else the only one that it has."""
    tenant: str
    limit: Optional[int]
    """1 to 1000; 10 by default."""
    offset: int
    """At most 10 000."""
    filter: Optional[Filter]
    score_threshold: Optional[float]
    """Lowest score to return."""
    omit_text: bool
    omit_metadata: bool
    at_least_as_fresh_as: Optional[str]
    """A freshness token: the answer holds everything that was durable when it was given."""
    with_document_text: bool
    """Return the whole text of each document, where it is stored; 2 MiB together."""
    with_percentile: bool
    """Say the percentile of each hit."""
    percentile_threshold: Optional[float]
    """Lowest percentile to return, 0 to 1: it means the same in every mode and collection."""
    with_count: bool
    """Count the documents of the result set."""
    facets: Optional[Sequence[FacetOptions]]
    """Count the values of fields in the result set; at most 8."""
    sort: Optional[SortOptions]
    """Order the result set by a field in place of the score."""
    candidates: int
    """How many documents the result set has at most, 1 to 10 000; 1000 by default, 10 000 in sparse mode."""


class _Query(TypedDict):
    query: str


class SearchRequest(_SearchScope, _Query, total=False):
    """A search."""

    mode: Optional[Mode]
    """Meaning, wording, or both; "dense" by default."""
    prefix: Optional[bool]
    """The last word may be unfinished; False by default for a search, True for a query of a search stream."""
    language: Optional[str]
    """Language of the query, an ISO 639 code, or "none"; those of the collection's documents by default."""
    explain: bool
    """Say of each hit why it ranks where it does; `limit` is 100 at most then."""
    explain_document_id: Optional[str]
    """Say of this document why it is in the answer, or why not."""
    snippet_length: int
    """Longest snippet around the best sentence of each hit, 16 to 4096 UTF-16 code units; 0 for none."""
    fusion: Optional[FusionOptions]
    """How a hybrid search fuses its legs."""
    rerank: int
    """How many of the best documents the service's reranker reads again, 1 to 100; 0, the default, for none."""


class SearchOptions(SearchRequest, CallOptions, total=False):
    """A search, and the bounds of its call."""


class StreamSearchOptions(SearchRequest, QueryOptions, total=False):
    """A search, and the bounds of a query of a stream."""


class _Vector(TypedDict):
    space: str
    """Fingerprint of the vector's space; another one than the collection's is refused."""
    vector: Sequence[float]


class SearchByVectorOptions(_SearchScope, _Vector, CallOptions, total=False):
    """A search whose query was encoded by the caller, and the bounds of its call."""


class _Texts(TypedDict):
    texts: Sequence[str]


class EncodeOptions(_Texts, CallOptions, total=False):
    """1 to 256 texts, and the bounds of the call."""


class TenantOptions(_Where, CallOptions, total=False):
    """A collection, or a tenant's part of it."""

    tenant: str


class FamiliarityOptions(CallOptions, total=False):
    """A collection, or a tenant's part of it."""

    collection: Optional[str]
    """As in a search."""
    tenant: str


class ScopeOptions(TenantOptions, total=False):
    """All documents of a tenant, or those that match a filter."""

    filter: Optional[Filter]


class DeleteOptions(ScopeOptions, total=False):
    """Documents by id, or all that match a filter."""

    document_ids: Optional[Sequence[str]]


class _Ids(TypedDict):
    ids: Sequence[str]


class GetOptions(TenantOptions, _Ids, total=False):
    """Documents by id."""

    with_vectors: bool


class _PhysicalName(TypedDict):
    physical_name: str


class DropOptions(_PhysicalName, CallOptions, total=False):
    """A physical collection."""

    with_aliases: bool
    """Confirms that the aliases that lead to it may go."""


class TenantsOptions(CallOptions, total=False):
    """All tenants, or those that have documents in one collection."""

    collection: Optional[str]


class _Tenant(TypedDict):
    tenant: str


class UsageOptions(_Tenant, CallOptions, total=False):
    """Whose usage; an empty name is that of data without a tenant."""


class DropTenantOptions(_Tenant, CallOptions, total=False):
    """A tenant, and what of it."""

    confirm_tenant: str
    """The same name again, unless it is a dry run."""
    collection: Optional[str]
    """What is in one collection; all of them without."""
    dry_run: bool
    """Count what would be removed, and remove nothing."""


class _Alias(TypedDict):
    alias: str


class SwitchOptions(_PhysicalName, _Alias, CallOptions, total=False):
    """An alias, and the physical collection that it is to lead to."""


class _LongStream(_Where, StreamOptions, total=False):
    tenant: str
    patience: float
    """How long to retry without progress, in seconds; 300 by default."""


class ExportOptions(_LongStream, total=False):
    """What to export."""

    all_tenants: bool
    """The documents of all tenants, one tenant after the other; `tenant` is not given then."""
    filter: Optional[Filter]
    with_vectors: bool
    """Vectors and terms of passages, too."""
    after: Optional[str]
    """Begin after this document of an earlier export of the same collection."""
    after_tenant: str
    """With `all_tenants`: whose document `after` is."""


class TextAnalysis(TypedDict, total=False):
    """How texts become the terms that sparse and hybrid searches match."""

    language: str
    """"auto" for that of each document, "none" for words as they are written, or an ISO 639 code; "auto" by default."""
    keep_diacritics: bool
    """Whether letters with and without diacritics differ."""


class IngestOptions(_LongStream, total=False):
    """Where an ingest goes; see the methods for callbacks and `resume`."""

    omit_text: bool
    """Keep texts out of the store."""
    bulk: bool
    """Many documents are coming: the index is built when the stream has ended."""
    window: int
    """How many operations may wait for a watermark; 1024 by default."""
    analysis: TextAnalysis
    """Of a collection that the ingest makes; refused with ANALYSIS_MISMATCH where the collection has another."""


class _Sequenced(TypedDict, total=False):
    version: int
    """A lower version than the stored one is rejected."""
    sequence: int
    """Has to increase; it is counted up where it is not given."""


class _Id(TypedDict):
    id: str


class DocumentInput(_Sequenced, _Id, total=False):
    """A document to add or to replace."""

    title: str
    text: str
    metadata: Mapping[str, Any]
    expires_at: Optional[datetime]
    """With its zone; from then on nothing finds the document."""
    traceparent: str


class _Delete(TypedDict):
    delete: str


class DeleteInput(_Sequenced, _Delete, total=False):
    """A document to delete, by its id."""


class _Patch(TypedDict):
    patch: str


class PatchInput(_Sequenced, _Patch, total=False):
    """A change of a stored document's metadata alone, by its id: nothing is encoded."""

    set: Mapping[str, Any]
    remove: Sequence[str]


Operation = Union[DocumentInput, DeleteInput, PatchInput]
"""One operation of an ingest."""
