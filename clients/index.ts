export type { CallBounds, ClientOptions } from './call.ts';
export type { Collection, ServiceInfo, Space, Tower } from './describe.ts';
export { DocumentClient, type DocumentScope } from './documents.ts';
export { ScalingnoteError, type StatusName } from './errors.ts';
export type { Condition, Filter, FilterValue } from './filter.ts';
export type {
  DeleteInput,
  DocumentInput,
  IngestOperation,
  IngestOptions,
  IngestOutcome,
  IngestSummary,
} from './ingest.ts';
export {
  type Hit,
  QueryClient,
  type SearchRequest,
  type SearchResult,
  SearchStream,
  type SearchTimings,
} from './query.ts';
