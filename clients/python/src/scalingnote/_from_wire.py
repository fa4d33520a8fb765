"""Messages of the wire as this package answers with them."""

from __future__ import annotations

import struct
from typing import Any, Literal

from ._values import from_moment, from_struct, from_value
from .answers import (
    Collection,
    CollectionAnalysis,
    DocumentExplanation,
    DocumentOrigin,
    EncodeResult,
    Explanation,
    Facet,
    FacetValue,
    Familiarity,
    FullDocument,
    Fusion,
    Hit,
    LegPlace,
    Legs,
    NoGoodAnswer,
    Passage,
    QueryTruncation,
    RankingPlace,
    Reranking,
    ResultSet,
    SearchResult,
    SearchTimings,
    ServiceInfo,
    Snippet,
    Space,
    TenantDrop,
    TenantDropped,
    TenantUsage,
    Tower,
)


def from_space(space: Any) -> Space:
    """From the wire."""
    return Space(space.fingerprint, space.dimensions)


def from_tower(tower: Any) -> Tower:
    """From the wire."""
    return Tower(
        name=tower.name,
        role="document" if tower.role == 1 else "query",
        space=from_space(tower.space),
        device=tower.device,
        max_tokens=tower.max_tokens,
        retention=tower.retention if tower.HasField("retention") else None,
    )


def from_service(info: Any) -> ServiceInfo:
    """From the wire."""
    return ServiceInfo(
        version=info.version,
        pid=info.pid,
        uptime_seconds=info.uptime_seconds,
        tower=from_tower(info.tower),
        store=info.store,
        not_serving_reason=info.not_serving_reason,
        writes_refused_reason=info.writes_refused_reason,
    )


def from_collection(found: Any) -> Collection:
    """From the wire."""
    return Collection(
        name=found.name,
        physical_name=found.physical_name,
        space=from_space(found.space),
        documents=found.documents,
        passages=found.passages,
        identity=found.identity,
        read_only=found.read_only,
        admitted_spaces=list(found.admitted_spaces),
        analysis=_from_analysis(found.analysis) if found.HasField("analysis") else None,
    )


def _from_analysis(found: Any) -> CollectionAnalysis:
    return CollectionAnalysis(
        language=found.language,
        keep_diacritics=found.keep_diacritics,
        fingerprint=found.fingerprint,
        unfinished=found.unfinished,
    )


def _from_place(place: Any) -> RankingPlace:
    return RankingPlace(place.score, place.rank or None, place.rank_bound, place.passage, place.fused_share)


def _from_explanation(found: Any) -> Explanation:
    return Explanation(
        rank=found.rank or None,
        passages=found.passages,
        dense=_from_place(found.dense) if found.HasField("dense") else None,
        sparse=_from_place(found.sparse) if found.HasField("sparse") else None,
        terms={each.term: each.score for each in found.terms},
        teacher=_from_place(found.teacher) if found.HasField("teacher") else None,
        teacher_name=found.teacher_name,
        origin=_from_origin(found.origin) if found.HasField("origin") else None,
    )


_COVERAGES: dict[str, Literal["covered", "later"]] = {
    "FRESHNESS_COVERAGE_COVERED": "covered",
    "FRESHNESS_COVERAGE_LATER": "later",
}


def _from_origin(found: Any) -> DocumentOrigin:
    return DocumentOrigin(
        ingested_at=from_moment(found.ingested_at) if found.HasField("ingested_at") else None,
        trace_id=found.trace_id,
        sequence=found.sequence or None,
        position=found.position,
        coverage=_COVERAGES.get(_enum_name(found, "coverage")),
        unknown=found.unknown,
    )


def _enum_name(message: Any, field: str) -> str:
    """Name of an enum's value; empty for one that a newer server has."""
    known = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number
    value = known.get(getattr(message, field))
    return value.name if value is not None else ""


def _from_document_explanation(found: Any) -> DocumentExplanation:
    return DocumentExplanation(
        document_id=found.document_id,
        fate=_enum_name(found, "fate").removeprefix("DOCUMENT_FATE_") or "UNKNOWN",
        message=found.message,
        filter_path=found.filter_path,
        explanation=_from_explanation(found.explanation) if found.HasField("explanation") else None,
        score=found.score if found.HasField("score") else None,
        offset=found.offset if found.HasField("offset") else None,
        version=found.version,
    )


def _from_snippet(found: Any) -> Snippet:
    units = found.text.encode("utf-16-le")

    def place(unit: int) -> int:
        return len(units[: 2 * unit].decode("utf-16-le"))

    highlights = [(place(each.start), place(each.end)) for each in found.highlights]
    return Snippet(found.text, highlights, found.start)


_ABSENCES: dict[int, Literal["not stored", "too large"]] = {1: "not stored", 2: "too large"}


def _from_leg(legs: Any, name: str) -> LegPlace | None:
    return LegPlace(getattr(legs, name).rank, getattr(legs, name).score) if legs.HasField(name) else None


def _from_fusion(found: Any) -> Fusion:
    method = _enum_name(found, "method").removeprefix("FUSION_METHOD_").lower()
    return Fusion(method, found.dense_weight, found.k if found.HasField("k") else None)


def _from_hit(hit: Any) -> Hit:
    return Hit(
        id=hit.document_id,
        score=hit.score,
        title=hit.title,
        passage=hit.passage,
        text=hit.text,
        metadata=from_struct(hit.metadata),
        version=hit.version,
        explanation=_from_explanation(hit.explanation) if hit.HasField("explanation") else None,
        snippet=_from_snippet(hit.snippet) if hit.HasField("snippet") else None,
        document_text=hit.document_text or None,
        document_text_absence=_ABSENCES.get(hit.document_text_absence),
        legs=Legs(_from_leg(hit.legs, "dense"), _from_leg(hit.legs, "sparse")) if hit.HasField("legs") else None,
        percentile=hit.percentile if hit.HasField("percentile") else None,
        rerank_score=hit.rerank_score if hit.HasField("rerank_score") else None,
    )


def _from_no_good_answer(found: Any) -> NoGoodAnswer:
    return NoGoodAnswer(found.best_score, found.best_percentile if found.HasField("best_percentile") else None)


def _from_facet(found: Any) -> Facet:
    values = [FacetValue(from_value(each.value), each.documents) for each in found.values]
    return Facet(found.field, values, found.missing, found.distinct, found.distinct_at_least)


def _from_result_set(found: Any) -> ResultSet:
    kind: Literal["matches", "best"] = "matches" if found.kind == 1 else "best"
    return ResultSet(kind, found.count, found.exact, found.candidates, [_from_facet(each) for each in found.facets])


_DENSE_ABSENCES: dict[int, Literal["deadline", "tower_away"]] = {1: "deadline", 2: "tower_away"}


_SKIPPED: dict[int, Literal["deadline", "away"]] = {1: "deadline", 2: "away"}


def _from_reranking(found: Any) -> Reranking:
    return Reranking(found.reranker, found.documents, _SKIPPED.get(found.skipped))


def from_search(response: Any) -> SearchResult:
    """From the wire."""
    spent = response.timings
    cut = response.query_truncation
    return SearchResult(
        hits=[_from_hit(hit) for hit in response.hits],
        timings=SearchTimings(
            spent.tokenize_ms, spent.queue_ms, spent.encode_ms, spent.search_ms, spent.total_ms, spent.cached
        ),
        query_tower=from_tower(response.query_tower),
        explained_document=(
            _from_document_explanation(response.explained_document)
            if response.HasField("explained_document")
            else None
        ),
        query_truncation=(
            QueryTruncation(cut.tokens_read, cut.max_tokens, cut.query_tokens, cut.query_tokens_at_least)
            if response.HasField("query_truncation")
            else None
        ),
        collection=response.collection,
        did_you_mean=response.did_you_mean or None,
        completions=list(response.completions),
        fusion=_from_fusion(response.fusion) if response.HasField("fusion") else None,
        no_good_answer=(
            _from_no_good_answer(response.no_good_answer) if response.HasField("no_good_answer") else None
        ),
        percentile_queries=response.percentile_queries,
        result_set=_from_result_set(response.result_set) if response.HasField("result_set") else None,
        dense_leg_absence=_DENSE_ABSENCES.get(response.dense_leg_absence),
        reranking=_from_reranking(response.reranking) if response.HasField("reranking") else None,
    )


def from_encode(response: Any) -> EncodeResult:
    """From the wire."""
    vectors = [list(each.values) for each in response.embeddings]
    return EncodeResult(vectors, from_tower(response.query_tower))


def from_familiarity(response: Any) -> Familiarity:
    """From the wire."""
    return Familiarity(
        response.unknown_token_share if response.HasField("unknown_token_share") else None,
        response.documents,
        response.tokens,
        from_tower(response.query_tower),
        response.collection,
    )


_LIMITS = (
    "max_documents",
    "max_bytes",
    "max_requests_per_second",
    "max_tokens_per_second",
    "max_ingest_streams",
)


def from_usage(response: Any) -> TenantUsage:
    """From the wire."""
    limits = {name: getattr(response, name) for name in _LIMITS if response.HasField(name)}
    return TenantUsage(response.documents, response.passages, response.bytes, response.ingest_streams, **limits)


def from_tenant_dropped(response: Any) -> TenantDropped:
    """From the wire."""
    drops = [TenantDrop(each.physical_name, each.documents, each.remaining) for each in response.drops]
    return TenantDropped(drops, response.complete)


def _from_passage(passage: Any) -> Passage:
    is_placed = passage.HasField("start") and passage.HasField("end")
    vector = passage.vector
    return Passage(
        text=passage.text,
        span=(passage.start, passage.end) if is_placed else None,
        vector=list(struct.unpack(f"<{len(vector) // 4}f", vector)) if vector else None,
        terms=dict(zip(passage.term_ids, passage.term_weights)) if passage.term_ids else None,
    )


def from_full_document(found: Any) -> FullDocument:
    """From the wire."""
    missing: Literal["omitted", "unknown"] | None = (
        "omitted" if found.text_omitted else "unknown" if found.text_unknown else None
    )
    return FullDocument(
        id=found.id,
        title=found.title,
        text=found.text if missing is None else None,
        missing_text=missing,
        metadata=from_struct(found.metadata),
        version=found.version,
        expires_at=from_moment(found.expires_at) if found.HasField("expires_at") else None,
        tenant=found.tenant,
        content_hash=found.content_hash,
        passages=[_from_passage(each) for each in found.passages],
    )
