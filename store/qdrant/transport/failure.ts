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
  /** Whether the server takes a `timeout`, after which it need not go on; it counts whole seconds. */
  timed?: boolean;
  /** What the call is about, by the name that the caller knows. */
  collection?: string;
  /**
   * Whether it is about collections and aliases, which the nodes of a cluster learn of one after the other: such calls
   * keep to one node, the first that answers, so that whoever makes them sees what others did.
   */
  catalog?: boolean;
  /** May be asked twice at the same time: a search that has to be quick. */
  hedged?: boolean;
}

type FailureFacts = Partial<Pick<Failure, 'retryable' | 'nodeFailed' | 'status' | 'cutOff' | 'said'>>;

/** Why a call failed, and what that means for the next one. */
export class Failure extends Error {
  override readonly name = 'Failure';
  /** What the caller of the store is told. */
  readonly error: StoreError;
  /** Whether the same call may go through if it is made again. */
  readonly retryable: boolean;
  /** Whether it is the node that is to blame. */
  readonly nodeFailed: boolean;
  /** HTTP status, where there was an answer. */
  readonly status: number | undefined;
  /** Whether the connection ended, when it stood already, before there was an answer. */
  readonly cutOff: boolean;
  /** What the server said; never shown where the request held documents. */
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

/** Longest piece of a server's message that is passed on. */
const MAX_SAID = 300;

/** What Qdrant says when a part of its cluster is away; the status is 500, as for everything that it did not foresee. */
const CLUSTER_FAULT =
  /shards failed to apply|transport error|connect error|currently unavailable|active replicas|consensus|timed? ?out|channel closed|shard.*(?:dead|not active|is being)|Cancelled|not yet ready|deadline|Connection refused/i;

/** What a node of a cluster says, with a 500, of a collection that it knows and has no shards of yet. */
const BEING_MADE = /\b0 of 0 read operations failed/;

/** What a node of a cluster says, with a 500, to a read of more copies than are active. */
const TOO_FEW_COPIES = /does not have enough active replicas/;

const DISK_FULL =
  /no space left|not enough (?:disk )?space|disk (?:is )?full|out of (?:disk|storage)|no free space|low disk space/i;

const TOO_LARGE = /larger than allowed|payload.*too large|entity too large/i;

/** What it is called when the other side ends a connection. */
const CUT_OFF = new Set(['EPIPE', 'ECONNRESET', 'UND_ERR_SOCKET']);

/** What it is called when a certificate is not trusted. */
const UNTRUSTED = /CERT|SELF_SIGNED|UNABLE_TO_VERIFY/;

/** Whether the server found a body too large. It says so with a 400, proxies with a 413. */
export function isTooLarge(failure: Failure): boolean {
  return failure.status === 413 || (failure.status === 400 && TOO_LARGE.test(failure.said));
}

/** Whether fewer copies of a shard are active than the call asks for. */
export function lacksCopies(failure: Failure): boolean {
  return TOO_FEW_COPIES.test(failure.said);
}

/** Whether the call is about a collection that the cluster is still making. */
export function isBeingMade(failure: Failure): boolean {
  return failure.status === 500 && BEING_MADE.test(failure.said);
}

/** What an answer that is no success means. */
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
    return failure(new StoreError('STORE_OVERLOADED', message, { retryDelayMs }), { retryable: true });
  }
  if (status >= 500 && DISK_FULL.test(said)) {
    return fail('STORE_FULL', 'has no room left on its disk; make room, or add a node');
  }
  if (status === 500 && BEING_MADE.test(said)) {
    // Five processes that ask at the same moment would otherwise have the node taken for dead.
    return fail('STORE_UNAVAILABLE', 'is still making the collection', { retryable: true });
  }
  if (status === 500 && TOO_FEW_COPIES.test(said) && call.path.includes('consistency=')) {
    // Another attempt would meet the same copies, and the node that says so is well.
    return fail('STORE_UNAVAILABLE', `has fewer copies of the collection than ${what} asks for`);
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

/** What it means that there was no answer. */
export function connectionFailure(call: Call, node: string, cause: unknown): Failure {
  const code = errorCode(cause);
  const hint = UNTRUSTED.test(code) ? '; name a PEM file with the certificates to trust (ca)' : '';
  const message = `Qdrant at ${node} does not answer "${call.operation}" (${code})${hint}`;
  const facts = { retryable: true, nodeFailed: true, cutOff: CUT_OFF.has(code) };
  return new Failure(new StoreError('STORE_UNAVAILABLE', message, { cause }), facts);
}

/** What it means that the answer took too long. */
export function timeoutFailure(call: Call, node: string, timeoutMs: number): Failure {
  const message = `Qdrant at ${node} did not answer "${call.operation}" within ${timeoutMs} ms`;
  return new Failure(new StoreError('STORE_UNAVAILABLE', message), { retryable: true, nodeFailed: true });
}

/** What it means that the answer took too long, while the node answered something else. */
export function busyFailure(call: Call, node: string, timeoutMs: number): Failure {
  const message = `Qdrant at ${node} is busy: it did not answer "${call.operation}" within ${timeoutMs} ms`;
  // Another attempt would add to its work; the caller may make it later.
  return new Failure(new StoreError('STORE_OVERLOADED', message, { retryDelayMs: BUSY_MS }));
}

/** When to ask a busy node again, in milliseconds. */
const BUSY_MS = 1000;

/** A short name of what went wrong below HTTP. */
export function errorCode(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code } = error as NodeJS.ErrnoException;
  if (code !== undefined) return code;
  return error.cause instanceof Error ? errorCode(error.cause) : error.message;
}

/** `retry-after` is in seconds here; `undefined` where it says nothing of use. */
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

/** Messages about a body repeat pieces of it: where it holds documents, only those are passed on that cannot. */
function printable(call: Call, said: string): string {
  const harmless = call.body === undefined || !/invalid (?:type|value)|unknown|JSON body/i.test(said);
  if (said === '' || !harmless) return '';
  return `: ${said.length > MAX_SAID ? `${said.slice(0, MAX_SAID)}...` : said}`;
}
