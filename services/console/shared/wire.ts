import type {
  Collection as LogicalCollection,
  Health,
  SearchResult,
  ServiceInfo,
} from '../../../clients/answers.ts';

/**
 * What the page and the server of the console say to each other, as JSON over HTTP. This folder imports nothing but
 * types from outside, because the page runs in a browser and the server in Node.
 */

/** Body of every answer whose status is not 2xx. */
export interface ErrorBody {
  error: {
    /** Stable name in UPPER_SNAKE_CASE. */
    reason: string;
    message: string;
    /** The fields that are wrong: how, and what to send instead. */
    violations?: readonly { field: string; description: string }[];
    /** Shortest wait before the same request may go through, in milliseconds; absent where waiting can't help. */
    retryDelayMs?: number;
  };
}

export type SearchMode = 'dense' | 'sparse' | 'hybrid';

/** Body of `POST /api/search`. */
export interface SearchBody {
  /** The searches of one box share a session: a newer one supersedes the older one. 1 to 64 characters. */
  session: string;
  /** Address of the query service that is to answer. */
  service: string;
  collection: string;
  tenant: string;
  query: string;
  limit: number;
  mode: SearchMode;
  /** Conditions as the command line's `--filter` takes them; all have to hold. */
  filters: readonly string[];
}

/** Answer of `POST /api/search`. */
export type SearchAnswer =
  | { superseded: true }
  | (SearchResult & {
      superseded: false;
      traceId: string;
      /** From the console to the query service and back, in milliseconds. */
      callMs: number;
    });

/** Body of `POST /api/cosines`. */
export interface CosinesBody {
  text: string;
  /** Addresses of query services. */
  services: readonly string[];
}

/** Answer of `POST /api/cosines`. */
export interface CosinesAnswer {
  /**
   * Cosine between the vectors that two services make of the text, in the order of the request; null where one of the
   * two gave none, or their spaces differ.
   */
  cosines: readonly (readonly (number | null)[])[];
  /** Why a service gave no vector, by its place in the request. */
  errors: readonly (string | null)[];
}

/** A service as the system view shows it. */
export interface ServiceState {
  kind: 'document' | 'query';
  address: string;
  health: Health | 'UNREACHABLE';
  /** Absent where it can't be reached. */
  info?: ServiceInfo;
  /** How long it took to answer, in milliseconds. */
  latencyMs?: number;
  /** Why it can't be reached. */
  problem?: string;
}

/** A physical collection. */
export interface Collection extends Omit<LogicalCollection, 'name'> {
  /** The logical names that lead to it; searches use these. */
  aliases: readonly string[];
}

/** Answer of `GET /api/system`. */
export interface SystemAnswer {
  version: string;
  services: readonly ServiceState[];
  collections: readonly Collection[];
  /** Why they can't be listed. */
  collectionsProblem?: string;
}

/** Body of `POST /api/ingests`. */
export interface IngestBody {
  /** Name of the file, for people. */
  name: string;
  /** How many bytes will come; 0 where that is not known, as of a file that is unpacked on the way. */
  bytes: number;
  collection: string;
  tenant: string;
  omitText: boolean;
}

/** A line of a file that did not become a document. */
export interface Rejection {
  line: number;
  id?: string;
  reason: string;
  message: string;
}

/** An ingest as it stands: answer of every request below `/api/ingests`. */
export interface IngestState {
  ingestId: string;
  traceId: string;
  name: string;
  collection: string;
  state: 'running' | 'done' | 'failed' | 'cancelled';
  /** Why it failed. */
  problem?: string;
  startedAt: string;
  /** How long it has been running, or ran, in milliseconds. */
  elapsedMs: number;
  bytes: number;
  /** Bytes of the file that have come in: where the next chunk begins. */
  receivedBytes: number;
  sent: number;
  indexed: number;
  unchanged: number;
  rejected: number;
  passages: number;
  /** Up to this line, everything is durable and searchable. */
  watermark: number;
  /** Documents that were sent and are not durable yet. */
  waiting: number;
  /** How long the oldest of them has been waiting, in milliseconds. */
  oldestMs: number;
  /** Outcomes in each of the last seconds, the newest last; at most 60. */
  rate: readonly number[];
  /** How often the connection broke and was made again. */
  reconnects: number;
  /** The first of the rejected documents. */
  rejections: readonly Rejection[];
}

/** Answer of `GET /api/ingests`: the newest first. */
export interface IngestsAnswer {
  ingests: readonly IngestState[];
}

/** Bytes of a file that one `POST /api/ingests/:id/chunks` takes at most. */
export const MAX_CHUNK_BYTES = 512 * 1024;

/** What a service measures, as far as the page shows it. Gauges are as they are now, totals since the start. */
export interface Measures {
  gauges: {
    /** Requests that wait. */
    queue: number;
    /** Open ingest streams. */
    streams: number;
    /** Tokens that were taken in and are not settled. */
    tokensInFlight: number;
    /** Operations that are under no watermark yet, and how long the oldest has been here, in seconds. */
    watermarkLag: number;
    watermarkAge: number;
    /** Bytes. */
    memory: number;
    /** How much later than planned the event loop turns, in seconds, for the slowest percent of turns. */
    loopDelayP99: number;
  };
  totals: {
    /** Calls that were answered, and seconds that took. */
    calls: number;
    callSeconds: number;
    /** Calls that were refused or failed. */
    refused: number;
    documents: number;
    documentsRejected: number;
    /** Runs of the model; inputs, tokens, share that was padding and seconds, each summed over the runs. */
    batches: number;
    batchInputs: number;
    batchTokens: number;
    batchPadding: number;
    batchSeconds: number;
    cacheLookups: number;
    cacheHits: number;
    /** Live queries that were compared with the teacher; cosine and overlap@10, each summed over them. */
    compared: number;
    cosine: number;
    overlap: number;
  };
}

/** A service's measures. */
export interface ServiceMeasures {
  kind: 'document' | 'query';
  /** Why they can't be read. */
  problem?: string;
  /** Milliseconds since the epoch. */
  at: number;
  measures?: Measures;
}

/** Answer of `GET /api/measures`. */
export interface MeasuresAnswer {
  services: readonly ServiceMeasures[];
}
