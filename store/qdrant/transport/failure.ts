import { collectionNotFound, StoreError, type StoreErrorReason } from '../../errors.ts';

/** One call of Qdrant's REST API. */
export interface Call {
  /** `db.operation.name`: what the call does, in one word or two. */
  operation: string;
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** From the root of the API, with its query. */
  path: string;
  /** JSON. */
  body?: string | Buffer;
  /** Whether the server takes a `timeout`, after which it may stop; in whole seconds. */
  timed?: boolean;
  /** The collection, by the name that the caller knows. */
  collection?: string;
  /**
   * Whether it is about collections and aliases. The nodes of a cluster learn of their changes one after the
   * other, so such calls keep to one node, the first that answers: each caller then sees what others did.
   */
  catalog?: boolean;
  /**
   * Whether the call may be sent a second time while the first is under way: for a search that has to be
   * fast.
   */
  hedged?: boolean;
}

type FailureFacts = Partial<Pick<Failure, 'retryable' | 'nodeFailed' | 'status' | 'cutOff' | 'said'>>;

/** Why a call failed, and what follows for the next call. */
export class Failure extends Error {
  override readonly name = 'Failure';
  /** The error for the caller of the store. */
  readonly error: StoreError;
  /** Whether the same call may succeed if it is made again. */
  readonly retryable: boolean;
  /** Whether the node is to blame. */
  readonly nodeFailed: boolean;
  /** HTTP status, if there was an answer. */
  readonly status: number | undefined;
  /** Whether an established connection ended before the answer. */
  readonly cutOff: boolean;
  /** The server's message; never shown if the request held documents. */
  readonly said: string;

  constructor(error: StoreError, options: FailureFacts = {}) {
    super(error.message, { cause: error });
    this.error = error;
    this.retryable = options.retryable ?? false;
    this.nodeFailed = options.nodeFailed ?? false;
    this.status = options.status;
    this.cutOff = options.cutOff ?? false;
    this.said = options.said ?? '';
  }
}

/** Longest part of a server's message to pass on. */
const MAX_SAID = 300;

/** What Qdrant says while a part of its cluster is away; the status is 500, as for every unforeseen error. */
const CLUSTER_FAULT =
  /shards failed to apply|transport error|connect error|currently unavailable|active replicas|consensus|timed? ?out|channel closed|shard.*(?:dead|not active|is being)|Cancelled|not yet ready|deadline|Connection refused/i;

/**
 * What a node of a cluster says, with status 500, about a collection that it knows but has no shards of yet.
 */
const BEING_MADE = /\b0 of 0 read operations failed/;

const DISK_FULL =
  /no space left|not enough (?:disk )?space|disk (?:is )?full|out of (?:disk|storage)|no free space|low disk space/i;

const TOO_LARGE = /larger than allowed|payload.*too large|entity too large/i;

/** The error codes for a connection that the other side ended. */
const CUT_OFF = new Set(['EPIPE', 'ECONNRESET', 'UND_ERR_SOCKET']);

/** The error codes for a certificate that is not trusted. */
const UNTRUSTED = /CERT|SELF_SIGNED|UNABLE_TO_VERIFY/;

/** Whether the body was too large. Qdrant says so with status 400, proxies with 413. */
export function isTooLarge(failure: Failure): boolean {
  return failure.status === 413 || (failure.status === 400 && TOO_LARGE.test(failure.said));
}

/** Whether the call is about a collection that the cluster is still making. */
export function isBeingMade(failure: Failure): boolean {
  return failure.status === 500 && BEING_MADE.test(failure.said);
}

/** The failure that an unsuccessful answer means. */
export function statusFailure(
  call: Call,
  node: string,
  { status, retryAfter, body }: { status: number; retryAfter: string | undefined; body: string },
): Failure {
  const said = serverMessage(body);
  const passed = printable(call, said);
  const what = `"${call.operation}"`;
  const failure = (error: StoreError, facts: FailureFacts): Failure =>
    new Failure(error, { ...facts, status, said });
  const fail = (reason: StoreErrorReason, message: string, facts: FailureFacts = {}): Failure =>
    failure(new StoreError(reason, `Qdrant at ${node} ${message}`), facts);

  if (status === 401) {
    return fail('STORE_UNAUTHENTICATED', 'does not accept the API key; check QDRANT_API_KEY');
  }
  if (status === 403) {
    const advice = 'use a key with write permission';
    return fail('STORE_PERMISSION_DENIED', `does not let this API key do ${what}${passed}; ${advice}`);
  }
  if (status === 404) {
    if (call.collection !== undefined && /collection/i.test(said)) {
      return failure(collectionNotFound(call.collection), {});
    }
    if (said !== '') return fail('STORE_INTERNAL', `did not find what ${what} needs${passed}`);
    return fail('STORE_UNAVAILABLE', `does not know ${what}: is that the address of its REST API?`);
  }
  if (status === 429) {
    const message = `Qdrant at ${node} asks to slow down${passed}`;
    const retryDelayMs = retryAfterMs(retryAfter);
    type FailureFacts = Partial<Pick<Failure, 'retryable' | 'nodeFailed' | 'status' | 'cutOff' | 'said'>>;

    /** Why a call failed, and what follows for the next call. */
  }
  if (status >= 500 && DISK_FULL.test(said)) {
    return fail('STORE_FULL', 'has no room left on its disk; make room, or add a node');
  }
  if (status === 500 && BEING_MADE.test(said)) {
    type FailureFacts = Partial<Pick<Failure, 'retryable' | 'nodeFailed' | 'status' | 'cutOff' | 'said'>>;

    /** Why a call failed, and what follows for the next call. */
  }
  const nodeFault = { retryable: true, nodeFailed: true };
  if ([408, 502, 503, 504].includes(status) || (status === 500 && CLUSTER_FAULT.test(said))) {
    return fail('STORE_UNAVAILABLE', `cannot do ${what} now (status ${status})${passed}`, nodeFault);
  }
  if (status >= 500) {
    return fail('STORE_INTERNAL', `failed at ${what} (status ${status})${passed}`, nodeFault);
  }
  if (status >= 300 && status < 400) {
    return fail('STORE_UNAVAILABLE', `answers with a redirect (status ${status}); give its own address`);
  }
  return fail('STORE_INVALID_ARGUMENT', `refused ${what} (status ${status})${passed}`);
}

/** The failure of a call without an answer. */
export function connectionFailure(call: Call, node: string, cause: unknown): Failure {
  const code = errorCode(cause);
  const hint = UNTRUSTED.test(code) ? '; name a PEM file with the certificates to trust (ca)' : '';
  const message = `Qdrant at ${node} does not answer "${call.operation}" (${code})${hint}`;
  const facts = { retryable: true, nodeFailed: true, cutOff: CUT_OFF.has(code) };
  return new Failure(new StoreError('STORE_UNAVAILABLE', message, { cause }), facts);
}

/** The failure of a call whose answer took too long. */
export function timeoutFailure(call: Call, node: string, timeoutMs: number): Failure {
  const message = `Qdrant at ${node} did not answer "${call.operation}" within ${timeoutMs} ms`;
  return new Failure(new StoreError('STORE_UNAVAILABLE', message), { retryable: true, nodeFailed: true });
}

/** A short name for an error below HTTP. */
export function errorCode(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code } = error as NodeJS.ErrnoException;
  if (code !== undefined) return code;
  return error.cause instanceof Error ? errorCode(error.cause) : error.message;
}

/** Milliseconds of a `retry-after` header, which is in seconds; 1000 if it is not a number of seconds. */
function retryAfterMs(header: string | undefined): number {
  const seconds = Number(header);
  return header !== undefined && Number.isFinite(seconds) && seconds >= 0 ? Math.ceil(seconds * 1000) : 1000;
}

function serverMessage(body: string): string {
  try {
    const { status } = JSON.parse(body) as { status?: { error?: unknown } };
    return typeof status?.error === 'string' ? status.error : '';
  } catch {
    return body;
  }
}

/** Messages about a body repeat parts of it: if it may hold documents, pass on only messages that cannot. */
function printable(call: Call, said: string): string {
  const harmless = call.body === undefined || !/invalid (?:type|value)|unknown|JSON body/i.test(said);
  if (said === '' || !harmless) return '';
  return `: ${said.length > MAX_SAID ? `${said.slice(0, MAX_SAID)}...` : said}`;
}
