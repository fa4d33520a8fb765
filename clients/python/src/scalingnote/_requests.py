"""Unary calls as messages, with what bounds them: the same for the clients with and without asyncio."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from . import types
from ._filters import set_filter
from ._from_wire import (
    from_collection,
    from_encode,
    from_familiarity,
    from_full_document,
    from_search,
    from_service,
    from_tenant_dropped,
    from_usage,
)
from ._proto import message
from ._values import (
    arguments,
    call_metadata,
    choice,
    flag,
    float32,
    known_keys,
    number,
    seconds,
    text,
    texts,
    token,
    traceparent,
    whole,
)
from .answers import (
    Collection,
    CountResult,
    DeleteResult,
    EncodeResult,
    Familiarity,
    FullDocument,
    SearchResult,
    ServiceInfo,
    StoredDocument,
    TenantCounts,
    TenantDropped,
    TenantUsage,
)
from .errors import invalid

T = TypeVar("T")
Headers = tuple[tuple[str, Any], ...]

_MODES = {"dense": 1, "sparse": 2, "hybrid": 3}
_FUSION_METHODS = {"ranks": 1, "scores": 2, "distribution": 3}
# Most ids that the service takes in one call.
MAX_GET_IDS = 100


@dataclass(frozen=True)
class Bounds:
    """What bounds a call; a timeout of None is the client's."""

    timeout: float | None
    metadata: Headers


@dataclass(frozen=True)
class Plan(Generic[T]):
    """A unary call."""

    method: str
    request: Any
    convert: Callable[[Any], T]
    bounds: Bounds
    is_once: bool = False
    """Whether it is tried once."""


def bounds_of(given: Mapping[str, Any]) -> Bounds:
    """Checks what bounds a call."""
    timeout = seconds(given["timeout"]) if "timeout" in given else None
    metadata: Headers = call_metadata(given.get("metadata", {}))
    trace = traceparent(given.get("traceparent", ""))
    return Bounds(timeout, (*metadata, ("traceparent", trace)) if trace else metadata)


def _searched(given: Mapping[str, Any]) -> str:
    """On the wire, an empty name means the default collection, which nobody means who writes a name."""
    if given.get("collection") == "":
        raise invalid("collection", "is empty; name the collection, or leave it out for the default one of the service")
    return text(given.get("collection", ""), "collection")


def _set_result_set(request: Any, given: Mapping[str, Any]) -> None:
    facets = given.get("facets", ())
    if not isinstance(facets, (list, tuple)):
        raise invalid("facets", f"must be a list, not {type(facets).__name__}")
    for index, facet in enumerate(facets):
        at = f"facets[{index}]"
        known_keys(facet, at, ("field", "limit"))
        limit = whole(facet["limit"], f"{at}.limit", 100, 1) if "limit" in facet else 0
        request.facets.add(field=text(facet.get("field", ""), f"{at}.field"), limit=limit)
    if "sort" in given:
        sort = given["sort"]
        known_keys(sort, "sort", ("field", "descending"))
        request.sort.field = text(sort.get("field", ""), "sort.field")
        request.sort.descending = flag(sort.get("descending", False), "sort.descending")
    if "candidates" in given:
        request.candidates = whole(given["candidates"], "candidates", 10_000, 1)


def _set_fusion(target: Any, fusion: Any) -> None:
    known_keys(fusion, "fusion", ("method", "k", "dense_weight"))
    target.SetInParent()
    for name, value in fusion.items():
        field = f"fusion.{name}"
        if name == "method":
            target.method = _FUSION_METHODS[choice(value, field, _FUSION_METHODS)]
        elif name == "k":
            target.k = whole(value, field, 1000, 1)
        else:
            target.dense_weight = number(value, field)


def search_message(given: Mapping[str, Any], *, query: str) -> Any:
    """A search as a message. Raises ScalingnoteError INVALID_ARGUMENT for what can't be written."""
    request = message("SearchRequest")(
        collection=_searched(given),
        rerank=whole(given.get("rerank", 0), "rerank", 100),
        query=text(query, "query"),
        tenant=text(given.get("tenant", ""), "tenant"),
        offset=whole(given.get("offset", 0), "offset", 10_000),
        snippet_length=whole(given.get("snippet_length", 0), "snippet_length", 4096),
    )
    for name in ("omit_text", "omit_metadata", "explain", "with_document_text", "with_percentile", "with_count"):
        setattr(request, name, flag(given.get(name, False), name))
    if "limit" in given:
        request.limit = whole(given["limit"], "limit", 1000, 1)
    if "filter" in given:
        set_filter(request.filter, given["filter"])
    if "score_threshold" in given:
        request.score_threshold = number(given["score_threshold"], "score_threshold")
    if "percentile_threshold" in given:
        request.percentile_threshold = number(given["percentile_threshold"], "percentile_threshold")
    if given.get("prefix") is not None:
        request.prefix = flag(given["prefix"], "prefix")
    if given.get("language") is not None:
        request.language = token(given["language"], "language")
    _set_result_set(request, given)
    if given.get("fusion") is not None:
        _set_fusion(request.fusion, given["fusion"])
    if "mode" in given:
        request.mode = _MODES[choice(given["mode"], "mode", _MODES)]
    # On the wire, an empty string is none: a caller whose token or id is empty by mistake would get another answer.
    for name in ("at_least_as_fresh_as", "explain_document_id"):
        if name in given:
            setattr(request, name, token(given[name], name))
    return request


def search(options: Mapping[str, Any]) -> Plan[SearchResult]:
    given = arguments(options, types.SearchOptions)
    return Plan("Search", search_message(given, query=given["query"]), from_search, bounds_of(given))


def search_by_vector(options: Mapping[str, Any]) -> Plan[SearchResult]:
    given = arguments(options, types.SearchByVectorOptions)
    vector = given["vector"]
    if isinstance(vector, (str, bytes, Mapping)) or not hasattr(vector, "__iter__"):
        raise invalid("vector", f"must be a list of numbers, not {type(vector).__name__}")
    # Numbers of numpy are numbers: `tolist` makes Python's of them.
    values = vector.tolist() if hasattr(vector, "tolist") else vector
    request = message("SearchByVectorRequest")(
        search=search_message(given, query=""),
        space=text(given["space"], "space"),
        vector=[float32(each, f"vector[{i}]") for i, each in enumerate(values)],
    )
    return Plan("SearchByVector", request, from_search, bounds_of(given))


def encode(options: Mapping[str, Any]) -> Plan[EncodeResult]:
    given = arguments(options, types.EncodeOptions)
    request = message("EncodeRequest")(texts=texts(given["texts"], "texts"))
    return Plan("Encode", request, from_encode, bounds_of(given))


def measure_familiarity(options: Mapping[str, Any]) -> Plan[Familiarity]:
    given = arguments(options, types.FamiliarityOptions)
    request = message("MeasureFamiliarityRequest")(
        collection=_searched(given), tenant=text(given.get("tenant", ""), "tenant")
    )
    return Plan("MeasureFamiliarity", request, from_familiarity, bounds_of(given))


def describe(service: str, options: Mapping[str, Any]) -> Plan[ServiceInfo]:
    given = arguments(options, types.CallOptions)
    request = message(f"{service}DescribeRequest")()
    return Plan("Describe", request, lambda answer: from_service(answer.service), bounds_of(given))


def _scope(name: str, given: Mapping[str, Any]) -> Any:
    request = message(name)(
        collection=text(given["collection"], "collection"), tenant=text(given.get("tenant", ""), "tenant")
    )
    if "filter" in given:
        set_filter(request.filter, given["filter"])
    return request


def delete(options: Mapping[str, Any]) -> Plan[DeleteResult]:
    given = arguments(options, types.DeleteOptions)
    request = _scope("DeleteRequest", given)
    request.document_ids.extend(texts(given.get("document_ids", ()), "document_ids"))
    return Plan(
        "Delete", request, lambda answer: DeleteResult(answer.documents, answer.freshness_token), bounds_of(given)
    )


def count(options: Mapping[str, Any]) -> Plan[CountResult]:
    given = arguments(options, types.ScopeOptions)
    return Plan(
        "Count",
        _scope("CountRequest", given),
        lambda answer: CountResult(answer.documents, answer.passages),
        bounds_of(given),
    )


def get_documents(options: Mapping[str, Any]) -> Plan[list[FullDocument]]:
    """All ids in one request; `parts` cuts it."""
    given = arguments(options, types.GetOptions)
    request = _scope("GetDocumentsRequest", given)
    # An id that is there twice is asked for once: the service would answer it once in a call, and once more in the next.
    request.document_ids.extend(dict.fromkeys(texts(given["ids"], "ids")))
    request.with_vectors = flag(given.get("with_vectors", False), "with_vectors")
    return Plan(
        "GetDocuments",
        request,
        lambda answer: [from_full_document(each) for each in answer.documents],
        bounds_of(given),
    )


def parts(plan: Plan[T], size: int) -> list[Plan[T]]:
    """The same for some of the ids each."""
    ids = list(plan.request.document_ids)
    cut: list[Plan[T]] = []
    for start in range(0, len(ids), size):
        request = type(plan.request)()
        request.CopyFrom(plan.request)
        del request.document_ids[:]
        request.document_ids.extend(ids[start : start + size])
        cut.append(Plan(plan.method, request, plan.convert, plan.bounds))
    return cut


# A page, and what asks for the next one; empty on the last.
Page = tuple[list[T], str]


def list_documents(options: Mapping[str, Any]) -> Plan[Page[StoredDocument]]:
    """The first page; `next_page` asks for the others."""
    given = arguments(options, types.TenantOptions)
    return Plan(
        "ListDocuments",
        _scope("ListDocumentsRequest", given),
        lambda answer: (
            [StoredDocument(each.id, each.title, list(each.passages)) for each in answer.documents],
            answer.next_page_token,
        ),
        bounds_of(given),
    )


def list_tenants(options: Mapping[str, Any]) -> Plan[Page[TenantCounts]]:
    """The first page; `next_page` asks for the others."""
    given = arguments(options, types.TenantsOptions)
    return Plan(
        "ListTenants",
        message("ListTenantsRequest")(collection=_all_or_one(given)),
        lambda answer: (
            [TenantCounts(each.tenant, each.documents, each.passages) for each in answer.tenants],
            answer.next_page_token,
        ),
        bounds_of(given),
    )


def next_page(plan: Plan[Page[T]], page_token: str) -> Plan[Page[T]]:
    """The page that a token asks for."""
    request = type(plan.request)()
    request.CopyFrom(plan.request)
    request.page_token = page_token
    return Plan(plan.method, request, plan.convert, plan.bounds)


def _all_or_one(given: Mapping[str, Any]) -> str:
    if given.get("collection") == "":
        raise invalid("collection", "is empty; name the collection, or leave it out for all of them")
    return text(given.get("collection", ""), "collection")


def list_collections(options: Mapping[str, Any]) -> Plan[list[Collection]]:
    given = arguments(options, types.CallOptions)
    return Plan(
        "ListCollections",
        message("ListCollectionsRequest")(),
        lambda answer: [from_collection(each) for each in answer.collections],
        bounds_of(given),
    )


def list_aliases(options: Mapping[str, Any]) -> Plan[dict[str, str]]:
    given = arguments(options, types.CallOptions)
    return Plan(
        "ListAliases",
        message("ListAliasesRequest")(),
        lambda answer: {each.name: each.physical_name for each in answer.aliases},
        bounds_of(given),
    )


def switch_alias(options: Mapping[str, Any]) -> Plan[str | None]:
    given = arguments(options, types.SwitchOptions)
    request = message("SwitchAliasRequest")(
        alias=text(given["alias"], "alias"), physical_name=text(given["physical_name"], "physical_name")
    )
    return Plan("SwitchAlias", request, lambda answer: answer.previous_physical_name or None, bounds_of(given))


def drop_collection(options: Mapping[str, Any]) -> Plan[list[str]]:
    given = arguments(options, types.DropOptions)
    request = message("DropCollectionRequest")(
        physical_name=text(given["physical_name"], "physical_name"),
        with_aliases=flag(given.get("with_aliases", False), "with_aliases"),
    )
    # A second attempt could not tell a collection that is gone from one that never was.
    return Plan("DropCollection", request, lambda answer: list(answer.aliases), bounds_of(given), is_once=True)


def tenant_usage(options: Mapping[str, Any]) -> Plan[TenantUsage]:
    given = arguments(options, types.UsageOptions)
    request = message("GetTenantUsageRequest")(tenant=text(given["tenant"], "tenant"))
    return Plan("GetTenantUsage", request, from_usage, bounds_of(given))


def drop_tenant(options: Mapping[str, Any]) -> Plan[TenantDropped]:
    given = arguments(options, types.DropTenantOptions)
    request = message("DropTenantRequest")(
        tenant=text(given["tenant"], "tenant"),
        confirm_tenant=text(given.get("confirm_tenant", ""), "confirm_tenant"),
        collection=_all_or_one(given),
        dry_run=flag(given.get("dry_run", False), "dry_run"),
    )
    return Plan("DropTenant", request, from_tenant_dropped, bounds_of(given))
