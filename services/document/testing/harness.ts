import { afterEach } from 'node:test';
import { credentials, type ClientDuplexStream, type ServiceError } from '@grpc/grpc-js';
import { pino, type Logger } from 'pino';
import type { DocumentServiceClient } from '../../../proto/generated/scalingnote/v1/DocumentService.ts';
import type { Document } from '../../../proto/generated/scalingnote/v1/Document.ts';
import type { DocumentPatch } from '../../../proto/generated/scalingnote/v1/DocumentPatch.ts';
import type { IngestBegin } from '../../../proto/generated/scalingnote/v1/IngestBegin.ts';
import type { IngestOutcome__Output } from '../../../proto/generated/scalingnote/v1/IngestOutcome.ts';
import type { IngestRequest } from '../../../proto/generated/scalingnote/v1/IngestRequest.ts';
import type { IngestResponse__Output } from '../../../proto/generated/scalingnote/v1/IngestResponse.ts';
import { v1 } from '../../../proto/load.ts';
import { type JsonObject, toStruct } from '../../../proto/struct.ts';
import { decodeStatus, STATUS_DETAILS_TRAILER, type RichStatus } from '../../../proto/status.ts';
import type { Access } from '../../runtime/access/access.ts';
import { Quotas } from '../../runtime/tenants/quotas.ts';
import { StorageQuotas } from '../../runtime/tenants/storage.ts';
import { startServer, type RunningServer } from '../../runtime/server.ts';
import { IngestPipeline, type IngestSettings, type PipelineParts } from '../ingest/pipeline.ts';
import { documentService, MAX_RECEIVE_BYTES } from '../service.ts';
import { FakeTower } from './fake-tower.ts';
import { openTestStore, type TestStore } from './test-store.ts';

/** A document service in this process, on a port of its own, with a client. */
export interface Harness {
  store: TestStore;
  tower: FakeTower;
  pipeline: IngestPipeline;
  server: RunningServer;
  client: DocumentServiceClient;
  /** Opens a stream; `begin` is sent unless it is `null`. */
  ingest(begin?: IngestBegin | null): IngestStream;
  stop(): Promise<void>;
}

/** Short waits: a test notices within milliseconds that the store is back. */
const QUICK_BACKOFF = { firstMs: 2, longestMs: 10 };

export async function startHarness(
  parts: {
    store?: TestStore;
    tower?: FakeTower;
    settings?: Partial<IngestSettings>;
    drift?: PipelineParts['drift'];
    quotas?: Quotas;
    access?: Access;
    log?: Logger;
  } = {},
): Promise<Harness> {
  const own = parts.store ? undefined : await openTestStore();
  const store = parts.store ?? own!;
  const tower = parts.tower ?? new FakeTower();
  const { drift, quotas = new Quotas(), log = pino({ level: 'silent' }) } = parts;
  const storage = new StorageQuotas(store, quotas);
  const pipeline = new IngestPipeline(
    { store, tower, log, drift, quotas, storage },
    { budgetTokens: 32_768, maxStreams: 32, backoff: QUICK_BACKOFF, ...parts.settings },
  );
  const server = await startServer({
    host: '127.0.0.1',
    port: 0,
    portSetting: 'a free one',
    services: [
      documentService({
        store,
        pipeline,
        describe: () => ({ version: '0.0.0', store: store.kind }),
        quotas,
        storage,
      }),
    ],
    maxReceiveBytes: MAX_RECEIVE_BYTES,
    log,
    access: parts.access,
  });
  server.setServing(true);
  const client = new v1.DocumentService(server.address, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
    // As our own client takes.
    'grpc.max_receive_message_length': 64 * 1024 * 1024,
  });
  return {
    store,
    tower,
    pipeline,
    server,
    client,
    ingest: (begin = { collection: 'docs' }) => {
      const stream = new IngestStream(client.ingest());
      if (begin) stream.send({ begin });
      return stream;
    },
    stop: async () => {
      client.close();
      await server.shutdown(100);
      await own?.dispose();
    },
  };
}

/** Starts document services like {@link startHarness}, and stops them after each test of the file. */
export function harnesses(): typeof startHarness {
  const running: Harness[] = [];
  afterEach(async () => {
    await Promise.all(running.splice(0).map((harness) => harness.stop()));
  });
  return async (parts) => {
    const harness = await startHarness(parts);
    running.push(harness);
    return harness;
  };
}

/** How a stream ended. */
export interface Ended {
  status: RichStatus;
  events: IngestResponse__Output[];
  outcomes: IngestOutcome__Output[];
  watermark: number;
}

/** The client's side of one stream. It keeps all events. */
export class IngestStream {
  readonly call: ClientDuplexStream<IngestRequest, IngestResponse__Output>;
  readonly events: IngestResponse__Output[] = [];
  readonly ended: Promise<Ended>;
  #wake = (): void => {};

  constructor(call: ClientDuplexStream<IngestRequest, IngestResponse__Output>) {
    this.call = call;
    call.on('data', (event: IngestResponse__Output) => {
      this.events.push(event);
      this.#wake();
    });
    this.ended = new Promise((resolve) => {
      const end = (status: RichStatus): void => {
        resolve({ status, events: this.events, outcomes: this.outcomes, watermark: this.watermark });
        this.#wake();
      };
      call.on('error', (error: ServiceError) => end(statusOf(error)));
      call.on('end', () => end({ code: 0, message: '', reason: '' }));
    });
  }

  get outcomes(): IngestOutcome__Output[] {
    return this.events.flatMap(({ outcome }) => outcome ?? []);
  }

  /** The last one; 0 before the first. */
  get watermark(): number {
    return Number(this.events.findLast(({ watermark }) => watermark)?.watermark?.sequence ?? 0);
  }

  send(request: IngestRequest): this {
    this.call.write(request);
    return this;
  }

  document(sequence: number, id: string, text: string, rest: Omit<Document, 'id' | 'text'> = {}): this {
    return this.send({ sequence, document: { id, text, ...rest } });
  }

  delete(sequence: number, id: string, version = 0): this {
    return this.send({ sequence, delete: { id, version } });
  }

  patch(sequence: number, id: string, rest: Omit<DocumentPatch, 'id' | 'set'> & { set?: JsonObject }): this {
    const { set, ...others } = rest;
    return this.send({ sequence, patch: { id, ...others, ...(set && { set: toStruct(set) }) } });
  }

  /** Half-closes, and waits for the end. */
  finish(): Promise<Ended> {
    this.call.end();
    return this.ended;
  }

  /** Waits until a condition holds; checks it after each event. */
  async until(holds: (stream: this) => boolean): Promise<void> {
    while (!holds(this)) await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  /** Waits for a watermark. */
  async durable(sequence: number): Promise<void> {
    await this.until(({ watermark }) => watermark >= sequence);
  }
}

/** A gate: others wait for it until it is opened. */
export function gate(): { opened: Promise<void>; open: () => void } {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

/** Waits until a condition holds, where no event says so. */
export async function eventually(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 2));
}

/** The richer error behind an error of grpc-js. */
export function statusOf({ code, details, metadata }: ServiceError): RichStatus {
  const [bytes] = metadata.get(STATUS_DETAILS_TRAILER);
  return bytes instanceof Buffer ? decodeStatus(bytes) : { code, message: details, reason: '' };
}
