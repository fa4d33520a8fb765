"""What the services answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from .errors import ScalingnoteError


@dataclass(frozen=True)
class Space:
    """The vector space that one document tower defines."""

    fingerprint: str
    dimensions: int


@dataclass(frozen=True)
class Tower:
    """A model that maps text to vectors of one space."""

    name: str
    role: Literal["document", "query"]
    space: Space
    device: str
    max_tokens: int
    retention: float | None


@dataclass(frozen=True)
class ServiceInfo:
    """What a service is and what it has loaded."""

    version: str
    pid: int
    uptime_seconds: float
    tower: Tower
    store: str
    not_serving_reason: str
    writes_refused_reason: str


@dataclass(frozen=True)
class CollectionAnalysis:
    """How the texts of a collection become terms."""

    language: str
    keep_diacritics: bool
    fingerprint: str
    """What has the same one makes the same terms of the same text."""
    unfinished: bool
    """A re-analysis has begun and has not ended."""


@dataclass(frozen=True)
class Collection:
    """A logical collection."""

    name: str
    physical_name: str
    space: Space
    documents: int
    passages: int
    identity: str
    read_only: bool
    admitted_spaces: list[str]
    analysis: CollectionAnalysis | None = None
    """None where it was made before there was a choice."""


@dataclass(frozen=True)
class RankingPlace:
    """A document's place in one ranking."""

    score: float
    rank: int | None
    """From 1; None past `rank_bound`."""
    rank_bound: int
    """How many places were looked at."""
    passage: int
    """Index of the passage that gave the score."""
    fused_share: float
    """What this ranking adds to the fused score of a hybrid search."""


@dataclass(frozen=True)
class Explanation:
    """Why a document ranks where it does. Ranks compare every vector, whatever index answered."""

    rank: int | None
    """Its place in the ranking of the search, from 1; None if that is not known."""
    passages: int
    dense: RankingPlace | None
    """By meaning."""
    sparse: RankingPlace | None
    """By wording, where it has a term of the query."""
    terms: dict[str, float]
    """The terms of the query that it has, with what each alone scores."""
    teacher: RankingPlace | None
    """By the tower that the query tower was distilled from, where the service has it loaded."""
    teacher_name: str
    origin: DocumentOrigin | None = None
    """Where the document comes from; None where it is gone, or the service is older than this."""


@dataclass(frozen=True)
class DocumentOrigin:
    """When and how a document came in: its last put or update."""

    ingested_at: datetime | None
    """By the clock of the document service; None where that is not known."""
    trace_id: str
    """Trace of the call of ingest that sent it; empty where that is not known."""
    sequence: int | None
    """Its sequence in that call."""
    position: str
    """The position from which on the collection has it, as in a freshness token; empty where that is not known."""
    coverage: Literal["covered", "later"] | None
    """Whether the freshness token of the search covers it: it was there then, or came later."""
    unknown: str
    """Why no time is known; empty where it is."""


@dataclass(frozen=True)
class DocumentExplanation:
    """What became of a document in a search."""

    document_id: str
    fate: str
    """`IN_ANSWER`, `NOT_STORED`, `DELETED`, `FILTERED_OUT`, `BELOW_THRESHOLD`, `RANKED_LOWER`, and so on."""
    message: str
    """The same in words."""
    filter_path: str
    """The condition that removed it: `filter.must[0]`."""
    explanation: Explanation | None
    score: float | None
    offset: int | None
    """Of a page that begins with it."""
    version: int


@dataclass(frozen=True)
class Snippet:
    """The stretch of a passage around its best sentence. Places count characters of Python's strings."""

    text: str
    highlights: list[tuple[int, int]]
    """The words of the query in `text`, as `text[start:end]`, in order and without overlap; or, by a lookup tower, words
    near it in meaning where the passage says none of the query's."""
    start: int
    """Where it begins in the text of the passage, in UTF-16 code units."""


@dataclass(frozen=True)
class LegPlace:
    """A document's place in one leg of a hybrid search."""

    rank: int
    """From 1."""
    score: float
    """Cosine, or BM25 score."""


@dataclass(frozen=True)
class Legs:
    """A document's places in the legs of a hybrid search; None where a leg does not have it."""

    dense: LegPlace | None
    """By meaning."""
    sparse: LegPlace | None
    """By wording."""


@dataclass(frozen=True)
class Fusion:
    """How a hybrid search fused its legs."""

    method: str
    """What a place in a leg is worth: "ranks", "scores" or "distribution"."""
    dense_weight: float
    """Weight of the dense leg, 0 to 1; the sparse leg has the rest."""
    k: int | None = None
    """Of the method "ranks" alone."""


@dataclass(frozen=True)
class Hit:
    """One document that was found."""

    id: str
    score: float
    title: str
    passage: int
    """Index of its best passage."""
    text: str
    """Text of its best passage."""
    metadata: dict[str, Any]
    version: int
    explanation: Explanation | None = None
    """Why it ranks where it does, with `explain`."""
    snippet: Snippet | None = None
    """Its best sentence, with `snippet_length`, where its text is stored."""
    document_text: str | None = None
    """Its whole text, with `with_document_text`."""
    document_text_absence: Literal["not stored", "too large"] | None = None
    """Why there is none: it is not stored, or the texts of the answer would be more than 2 MiB together."""
    legs: Legs | None = None
    """Its places in both legs of a hybrid search."""
    percentile: float | None = None
    """Share of random queries whose best document scores lower, with `with_percentile`, where it is known."""
    rerank_score: float | None = None
    """What the reranker says of it, on its own scale, where it has read it."""


@dataclass(frozen=True)
class SearchTimings:
    """Where the time of a search went on the server, in milliseconds."""

    tokenize_ms: float
    queue_ms: float
    encode_ms: float
    search_ms: float
    total_ms: float
    cached: bool


@dataclass(frozen=True)
class SearchResult:
    """Ranked documents, best first."""

    hits: list[Hit]
    timings: SearchTimings
    query_tower: Tower
    explained_document: DocumentExplanation | None = None
    """What became of the document that `explain_document_id` names."""
    query_truncation: QueryTruncation | None = None
    """Set where the query is longer than the tower's window."""
    collection: str = ""
    """Logical name of the collection that was searched; empty where the service is older than this."""
    did_you_mean: str | None = None
    """The query with other words for those that the collection does not have; these were searched for, too."""
    completions: list[str] = field(default_factory=list)
    """What an unfinished last word may become, the best first."""
    fusion: Fusion | None = None
    """How a hybrid search fused its legs."""
    no_good_answer: NoGoodAnswer | None = None
    """A threshold left nothing, although something was found."""
    percentile_queries: int = 0
    """How many random queries the percentiles are made of; 0 where nobody asked for them."""
    result_set: ResultSet | None = None
    """What was counted or sorted, with `with_count`, `facets` or `sort`."""
    dense_leg_absence: Literal["deadline", "tower_away"] | None = None
    """Why a hybrid search answered by wording alone."""
    reranking: Reranking | None = None
    """What the reranker did, with `rerank`."""


@dataclass(frozen=True)
class Reranking:
    """What a reranker did."""

    reranker: str
    documents: int
    """How many it has read."""
    skipped: Literal["deadline", "away"] | None
    """Why it has not: the deadline left no time, or it is away. The order is that of the search then."""


@dataclass(frozen=True)
class NoGoodAnswer:
    """The best that is below the threshold of a search."""

    best_score: float
    best_percentile: float | None
    """None where it is not known."""


@dataclass(frozen=True)
class FacetValue:
    """One value of a field, and how many documents of the result set have it."""

    value: str | float | bool
    documents: int


@dataclass(frozen=True)
class Facet:
    """The values of a field in the result set."""

    field: str
    values: list[FacetValue]
    """The most frequent first."""
    missing: int
    """Documents without the field."""
    distinct: int
    """How many values there are, listed or not."""
    distinct_at_least: bool
    """There are more."""


@dataclass(frozen=True)
class ResultSet:
    """The documents that a search counts, sorts and makes facets of."""

    kind: Literal["matches", "best"]
    """All that match (sparse), or the best (dense, hybrid), each above the threshold and within the filter."""
    count: int
    """How many there are, with `with_count`."""
    exact: bool
    """There are no more than these: the set was not cut at `candidates`."""
    candidates: int
    facets: list[Facet]


@dataclass(frozen=True)
class QueryTruncation:
    """How much of a query was read."""

    tokens_read: int
    max_tokens: int
    """That the tower reads at most."""
    query_tokens: int = 0
    """Of the whole query; 0 where the service is older than this."""
    query_tokens_at_least: bool = False
    """The query has more than `query_tokens`: counting ended there."""


@dataclass(frozen=True)
class Familiarity:
    """How well a query tower knows a collection."""

    unknown_token_share: float | None
    """Share of the tokens that its training hardly saw; None where the tower does not say what it saw."""
    documents: int
    tokens: int
    query_tower: Tower
    collection: str = ""
    """Logical name of the collection that was measured; empty where the service is older than this."""


@dataclass(frozen=True)
class EncodeResult:
    """One vector for each text."""

    embeddings: list[list[float]]
    query_tower: Tower


@dataclass(frozen=True)
class DeleteResult:
    """What was deleted."""

    documents: int
    freshness_token: str
    """A search that takes it does not see them any more."""


@dataclass(frozen=True)
class CountResult:
    """How many there are."""

    documents: int
    passages: int


@dataclass(frozen=True)
class StoredDocument:
    """A document as it is stored."""

    id: str
    title: str
    passages: list[str]
    """Texts of its passages, in order; they overlap. Empty where texts are kept out of the store."""


@dataclass(frozen=True)
class TenantCounts:
    """A tenant, with what it has."""

    tenant: str
    """Empty for data without a tenant."""
    documents: int
    passages: int


@dataclass(frozen=True)
class TenantUsage:
    """What a tenant has, over all collections, and what it may have; a limit that is None is none."""

    documents: int
    passages: int
    bytes: int
    """Titles, texts, metadata as JSON, and vectors."""
    ingest_streams: int
    """Open at this service."""
    max_documents: int | None = None
    max_bytes: int | None = None
    max_requests_per_second: float | None = None
    """At each service process, as the two below."""
    max_tokens_per_second: float | None = None
    max_ingest_streams: int | None = None


@dataclass(frozen=True)
class TenantDrop:
    """What was removed from one physical collection."""

    physical_name: str
    documents: int
    """Removed by this call; in a dry run, what it would remove."""
    remaining: int
    """What names the tenant still, counted after the drop."""


@dataclass(frozen=True)
class TenantDropped:
    """What a drop of a tenant removed."""

    drops: list[TenantDrop]
    complete: bool
    """Nothing is left. Where it is False, call again."""


@dataclass(frozen=True)
class Passage:
    """A passage as it is stored."""

    text: str
    """Empty where texts are kept out of the store."""
    span: tuple[int, int] | None
    """Where it lies in the document's text, in UTF-16 code units; None where that is not known."""
    vector: list[float] | None
    """Of unit length; only where vectors were asked for."""
    terms: dict[int, float] | None
    """The weights of the terms it has, by id; only where vectors were asked for."""


@dataclass(frozen=True)
class FullDocument:
    """A document as it came, with what was made of it."""

    id: str
    title: str
    text: str | None
    """The whole text as it came; None where the store does not have it."""
    missing_text: Literal["omitted", "unknown"] | None
    """Why it is None: kept out of the store by its owner, or never stored whole by a version before 0.2.0."""
    metadata: dict[str, Any]
    version: int
    expires_at: datetime | None
    tenant: str
    content_hash: str
    passages: list[Passage]


OutcomeKind = Literal["indexed", "unchanged", "deleted", "rejected"]


@dataclass(frozen=True)
class IngestOutcome:
    """What became of one operation."""

    sequence: int
    id: str
    kind: OutcomeKind
    passages: int = 0
    """How many the document has now; 0 unless it was indexed."""
    encoded_passages: int = 0
    """How many of these were encoded for this operation."""
    error: ScalingnoteError | None = None
    """Why it was rejected."""


@dataclass(frozen=True)
class Checkpoint:
    """Progress to keep: everything up to `sequence` is durable. Give it back as `resume`, with the same operations."""

    sequence: int
    identity: str
    """Identity of the collection that everything went to."""
    freshness_token: str
    """A search that takes it sees everything up to there."""


@dataclass
class IngestSummary:
    """What an ingest did."""

    sent: int = 0
    skipped: int = 0
    """Operations up to the checkpoint that it resumed from."""
    indexed: int = 0
    unchanged: int = 0
    deleted: int = 0
    rejected: int = 0
    watermark: int = 0
    """Everything up to this sequence is durable."""
    identity: str = ""
    """Identity of the collection that everything went to."""
    freshness_token: str = ""
    """Of the last watermark: a search that takes it sees everything up to there."""
    rejections: list[IngestOutcome] = field(default_factory=list)
    """The first hundred; `on_outcome` gets all."""
