export type { CallBounds, ClientOptions } from './call.ts';
export type {
  Collection,
  CollectionAnalysis,
  DocumentExplanation,
  DocumentOrigin,
  Explanation,
  Facet,
  Fusion,
  Health,
  Hit,
  LegPlace,
  Legs,
  QueryTruncation,
  RankingPlace,
  ResultSet,
  SearchResult,
  SearchTimings,
  ServiceInfo,
  Snippet,
  Space,
  TextAnalysis,
  Tower,
} from './answers.ts';
export type { Credentials } from './credentials.ts';
export { DocumentClient, type DocumentScope, type StoredDocument } from './documents.ts';
export { type FieldViolation, ScalingnoteError, type StatusName } from './errors.ts';
export type { ExportOptions } from './export.ts';
export type { Condition, Filter, FilterValue } from './filter.ts';
export { FILTER_SYNTAX, parseFilter } from './filter-syntax.ts';
export type { FullDocument, FullPassage } from './full-document.ts';
export type { IngestOptions, IngestOutcome, IngestSummary } from './ingest.ts';
export type { DeleteInput, DocumentInput, IngestOperation, PatchInput } from './operation.ts';
export { type CollectionFamiliarity, QueryClient, type SearchByVectorRequest } from './query.ts';
export type { RecordOperation } from './record-operation.ts';
export { type DocumentRecord, readJsonLines } from './records.ts';
export type { FacetRequest, SearchRequest, Sort } from './search-request.ts';
export type { QueryBounds, SearchStream } from './search-stream.ts';
export type { Balancing } from './servers.ts';
export type { TenantCounts, TenantDropped, TenantUsage } from './tenants.ts';
export type { StreamBounds } from './service-client.ts';
export { type CallMetadata, tracingInterceptor } from './tracing-interceptor.ts';
export type { JsonObject, JsonValue } from '../proto/struct.ts';
