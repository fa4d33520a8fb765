import type { ClientReadableStream } from '@grpc/grpc-js';
import { status as Code } from '@grpc/grpc-js';
import type { ExportRequest } from '../proto/generated/scalingnote/v1/ExportRequest.ts';
import type { ExportResponse__Output } from '../proto/generated/scalingnote/v1/ExportResponse.ts';
import type { Collection } from './answers.ts';
import { ScalingnoteError, toScalingnoteError } from './errors.ts';
import type { Filter } from './filter.ts';
import { fromCollection } from './from-wire.ts';
import { fromFullDocument, type FullDocument } from './full-document.ts';
import { Patience, type PatienceOptions } from './patience.ts';
import { MAX_TIMER_MS, tookNoStream } from './retries.ts';
import type { CallMetadata } from './tracing-interceptor.ts';
import { toWire } from './strict/message.ts';

/** What to export, and how. */
export interface ExportOptions {
  /** Logical name of the collection. */
  collection: string;
  /** Whose documents. @default '' */
  tenant?: string;
  /** The documents of all tenants, one tenant after the other; `tenant` is not given then. @default false */
  allTenants?: boolean;
  /** @default all documents */
  filter?: Filter | undefined;
  /** Vectors and terms of passages. @default false */
  withVectors?: boolean;
  /** Begin after this document of an earlier export of the same collection. @default the beginning */
  after?: { tenant?: string; id: string } | undefined;
  /** Called once, before the first document. What it throws ends the export. */
  onBegin?: (collection: Collection) => void;
  /** Called when the connection broke, before the wait and the next attempt. */
  onReconnect?: (error: ScalingnoteError, waitMs: number) => void;
  /** W3C trace context that the export belongs to. @default what is active in OpenTelemetry, if that is in use */
  traceparent?: string;
  /** What the export carries besides; see `CallBounds`. */
  metadata?: CallMetadata;
  /** Ends the export. */
  signal?: AbortSignal;
  /**
   * How long to retry without progress, in milliseconds, once a server has begun; before that, the client's `timeoutMs`
   * and `waitForReady` hold.
   *
   * @default 300000
   */
  patienceMs?: number;
}

type Call = ClientReadableStream<ExportResponse__Output>;

/**
 * Every document of a collection, over as many connections as it takes: each document comes once. The server is not
 * asked for more while the caller is busy.
 *
 * @param connect - opens a stream
 * @param options - `openMs`: how long a server may take to begin; then another attempt is made
 * @throws {ScalingnoteError} what ended the export for good; `COLLECTION_REPLACED` where the collection became another
 */
export async function* runExport(
  connect: (request: ExportRequest) => Call | Promise<Call>,
  options: ExportOptions & Pick<PatienceOptions, 'beginMs'> & { openMs?: number },
): AsyncGenerator<FullDocument, void, undefined> {
  const { signal, onBegin, openMs = MAX_TIMER_MS } = options;
  const patience = new Patience(options);
  const request = toWireExport(options);
  let collection: Collection | undefined;
  let last = options.after && { tenant: options.after.tenant ?? '', id: options.after.id };
  for (;;) {
    signal?.throwIfAborted();
    try {
      const after = last && {
        afterDocumentId: last.id,
        ...(request.allTenants && { afterTenant: last.tenant }),
      };
      const call = await connect({ ...request, ...after });
      for await (const { header, document } of messages(call, signal, openMs)) {
        if (header?.collection) {
          const found = fromCollection(header.collection);
          if (collection === undefined) onBegin?.(found);
          else checkSame(collection, found);
          collection ??= found;
          patience.begun();
        } else if (document) {
          patience.progress();
          last = { tenant: document.tenant, id: document.id };
          yield fromFullDocument(document);
        }
      }
      return;
    } catch (error) {
      await patience.next(error);
    }
  }
}

function toWireExport({ collection, tenant, allTenants, filter, withVectors }: ExportOptions): ExportRequest {
  const request = { collection, tenant, allTenants, filter, withVectors };
  return toWire('scalingnote.v1.ExportRequest', request, { required: ['collection'] });
}

/** The messages of one stream. It is cancelled when its reader is done, however that came. */
async function* messages(
  call: Call,
  signal: AbortSignal | undefined,
  openMs: number,
): AsyncGenerator<ExportResponse__Output, void, undefined> {
  let late: ScalingnoteError | undefined;
  const opening = setTimeout(() => {
    late = tookNoStream(call.getPeer(), openMs);
    call.cancel();
  }, openMs);
  const cancel = (): void => call.cancel();
  signal?.addEventListener('abort', cancel, { once: true });
  readOneAtATime(call);
  // An error after the reader has gone must not end the process.
  call.on('error', () => {});
  try {
    for await (const message of call as AsyncIterable<ExportResponse__Output>) {
      clearTimeout(opening);
      yield message;
    }
  } catch (error) {
    throw late ?? toScalingnoteError(error);
  } finally {
    clearTimeout(opening);
    signal?.removeEventListener('abort', cancel);
    call.cancel();
  }
}

/** Left alone, a stream reads 16 messages ahead, which may be 16 large documents. */
function readOneAtATime(call: Call): void {
  const read = call._read.bind(call);
  let held = false;
  call._read = (size) => {
    if (call.readableLength === 0) read(size);
    else held = true;
  };
  const take = call.read.bind(call) as (size?: number) => ExportResponse__Output;
  call.read = (size?: number): ExportResponse__Output => {
    const message = take(size);
    if (held && call.readableLength === 0) {
      held = false;
      read(1);
    }
    return message;
  };
}

/** What broke off in one collection can't go on in another: documents would be missing or there twice. */
function checkSame(began: Collection, found: Collection): void {
  if (began.identity === found.identity) return;
  throw new ScalingnoteError({
    code: Code.FAILED_PRECONDITION,
    reason: 'COLLECTION_REPLACED',
    message:
      `collection "${began.name}" became another one while it was exported: it was ${began.physicalName} ` +
      `(${began.identity}) and is ${found.physicalName} (${found.identity}); export it again`,
    metadata: { collection: began.name, expected_identity: began.identity, identity: found.identity },
  });
}
