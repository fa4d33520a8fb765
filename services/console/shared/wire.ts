import * as z from 'zod';
import type {
  Collection as LogicalCollection,
  Health,
  SearchResult,
  ServiceInfo,
} from '../../../clients/answers.ts';

/**
 * What the page and the server of the console send each other, as JSON over HTTP. The page imports only the types of
 * this file, so that its schemas stay on the server. This folder imports nothing of Node, as the page runs in a browser.
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

/** More conditions than fit on a screen. */
const MAX_FILTERS = 64;

/** Body of `POST /api/search`. The query service checks texts and their limits. */
export const SearchBody = z.strictObject({
  /** The searches of one box share a session: a newer one supersedes the older one. */
  session: z.string().min(1).max(64),
  /** Address of the query service that is to answer. */
  service: z.string(),
  collection: z.string(),
  tenant: z.string(),
  query: z.string(),
  limit: z.int(),
  mode: z.enum(['dense', 'sparse', 'hybrid']),
  /** Conditions as the command line's `--filter` takes them; all have to hold. */
  filters: z.array(z.string()).max(MAX_FILTERS).readonly(),
  /** A freshness token: the answer holds everything that was durable when it was given. */
  atLeastAsFreshAs: z.string().exactOptional(),
  /** Lowest score to return. */
  scoreThreshold: z.number().exactOptional(),
  /** Say of each hit why it ranks where it does. */
  explain: z.boolean().exactOptional(),
  /** Say of this document why it is among the hits, or why not. */
  explainDocumentId: z.string().exactOptional(),
  /** Longest snippet around the best sentence of each hit. */
  snippetLength: z.int().exactOptional(),
  /** Return whole texts, too. */
  withDocumentText: z.boolean().exactOptional(),
});
export type SearchBody = z.infer<typeof SearchBody>;

/** Answer of `POST /api/search`. */
export type SearchAnswer =
  | { superseded: true }
  | (SearchResult & {
      superseded: false;
      traceId: string;
      /** From the console to the query service and back, in milliseconds. */
      callMs: number;
    });

/** Body of `POST /api/cosines`: a text, and addresses of query services. */
export const CosinesBody = z.strictObject({
  text: z.string(),
  services: z.array(z.string()).min(1).max(16).readonly(),
});

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
export const IngestBody = z.strictObject({
  /** Name of the file, for people. */
  name: z.string().min(1).max(1024),
  /** How many bytes will come; 0 where that is not known, as of a file that is unpacked on the way. */
  bytes: z.int().min(0),
  collection: z.string().min(1, 'is empty; name the collection'),
  tenant: z.string(),
  omitText: z.boolean(),
});
export type IngestBody = z.infer<typeof IngestBody>;

/** A line of a file that did not become a document. */
export interface Rejection {
  line: number;
  id?: string;
  reason: string;
  message: string;
}

/** The state of an ingest: answer of every request below `/api/ingests`. */
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

/** Whether somebody has to log in, and has. */
export interface SessionAnswer {
  needed: boolean;
  loggedIn: boolean;
  /** Where people can log in besides with a key, if there is such a place. */
  issuer?: string;
  /** After a logout: where the session at the issuer ends. */
  logoutUrl?: string;
}

/** A login at the issuer has begun. */
export interface LoginBegun {
  /** Where the person has to go. */
  location: string;
}
