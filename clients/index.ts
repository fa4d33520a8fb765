export type { CallBounds, ClientOptions } from './call.ts';
export type { Collection, ServiceInfo, Space, Tower } from './describe.ts';
export { DocumentClient, type DocumentScope } from './documents.ts';
export { type FieldViolation, ScalingnoteError, type StatusName } from './errors.ts';
export type { Condition, Filter, FilterValue } from './filter.ts';
export type {
  DeleteInput,
  DocumentInput,
  IngestOperation,
  IngestOptions,
  IngestOutcome,
  IngestSummary,
} from './ingest.ts';
export { QueryClient } from './query.ts';
export type { Hit, SearchRequest, SearchResult, SearchTimings } from './search.ts';
export type { SearchStream } from './search-stream.ts';
export type { JsonObject, JsonValue } from '../proto/struct.ts';
