/**
 * What clients saw, in the order in which they saw it. The simulation and the fault harness both record it, and the judge
 * reads nothing else. Times are whole numbers that grow: of the virtual clock, or of the machine's monotonic clock.
 */
export interface History {
  clients: readonly ClientPlan[];
  /** In order of time. */
  events: readonly HistoryEvent[];
}

/** What one client has to get into the store. */
export interface ClientPlan {
  client: string;
  tenant: string;
  operations: readonly PlannedOperation[];
}

/** One operation of a plan. */
export type PlannedOperation = { sequence: number; id: string; version: number } & (
  | { kind: 'put'; content: Content }
  | { kind: 'patch'; set: Readonly<Record<string, string>>; remove: readonly string[] }
  | { kind: 'delete' }
);

/** What a put makes of a document. */
export interface Content {
  title: string;
  /** No passage of it comes twice. */
  text: string;
  metadata: Readonly<Record<string, string>>;
  /** Milliseconds since the epoch. */
  expiresAt?: number;
}

/** A document as somebody read it. */
export interface DocumentState {
  id: string;
  version: number;
  title: string;
  /** Absent where only one passage of it was read. */
  text?: string;
  /** The passages that were read; empty where texts are kept out of the store. */
  passages: readonly string[];
  metadata: Readonly<Record<string, unknown>>;
}

/** Bounds of what the clocks on the walls of all machines showed. */
export interface Clocks {
  /** The least that any clock showed while a read ran. */
  least: number;
  /** The most that any clock has shown so far. */
  most: number;
}

/** How the server answered an operation. */
export type OutcomeKind = 'indexed' | 'unchanged' | 'deleted' | 'rejected';

/** Something that was seen. */
export type HistoryEvent = { at: number } & (
  | ClientEvent
  /** A collection is gone, not before `from`. */
  | { kind: 'dropped'; identity: string; from?: number }
  /** A collection is there that holds what another one held at some moment before. */
  | { kind: 'restored'; identity: string; from: string }
  /** Every document of a tenant that a search with a freshness token found; it began at `from`. */
  | {
      kind: 'read';
      from: number;
      tenant: string;
      token: string;
      clocks: Clocks;
      documents: readonly DocumentState[];
    }
  /** What is stored in the end of a tenant; `counted` is what the store counts. */
  | {
      kind: 'final';
      identity: string;
      tenant: string;
      clocks: Clocks;
      documents: readonly DocumentState[];
      counted: { documents: number; passages: number };
    }
);

/** Something that a client saw or did. */
export type ClientEvent = { client: string } &
  /** The program begins, or begins again, to send what comes after a sequence. */
  (
    | { kind: 'run'; after: number }
    /** What came so far belongs to a collection that is gone: the program begins at the beginning. */
    | { kind: 'replaced' }
    /** A connection has been opened; the number is the client's own. */
    | { kind: 'opened'; connection: number }
    | { kind: 'ready'; connection: number; identity: string }
    | { kind: 'sent'; connection: number; sequence: number }
    | { kind: 'outcome'; connection: number; sequence: number; outcome: OutcomeKind; reason: string }
    | { kind: 'watermark'; connection: number; sequence: number; token: string }
    /** A connection has ended, well where there is no code. */
    | { kind: 'ended'; connection: number; code: string; reason: string }
    /** The library has told the program what became of an operation. */
    | { kind: 'reported'; sequence: number; outcome: OutcomeKind }
    /** The library has told the program that everything up to here is durable. */
    | { kind: 'durable'; sequence: number }
    /** The program is done: all its operations are durable. */
    | { kind: 'finished' }
  );

/** An event without its time. */
export type Untimed<Event> = Event extends { at: number } ? Omit<Event, 'at'> : never;
