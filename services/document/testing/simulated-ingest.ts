import { status } from '@grpc/grpc-js';
import type { IngestRequest__Output } from '../../../proto/generated/scalingnote/v1/IngestRequest.ts';
import type { IngestResponse } from '../../../proto/generated/scalingnote/v1/IngestResponse.ts';
import { StoreError } from '../../../store/errors.ts';
import type { DocumentWrite, DocumentWriteResult } from '../../../store/store.ts';
import { MemoryData, MemoryStore, type StoreCall } from '../../../store/testing/memory-store.ts';
import type { Simulation } from '../../../store/testing/simulation.ts';
import { TowerError } from '../../../towers/errors.ts';
import { pino } from 'pino';
import { ServiceError } from '../../runtime/errors.ts';
import { IngestPipeline } from '../ingest/pipeline.ts';
import { FakeTower } from './fake-tower.ts';
import { away } from './test-store.ts';

export const COLLECTION = 'docs';

/** An operation that a client has to get into the store. */
export interface PlannedOperation {
  sequence: number;
  documentId: string;
  version: number;
  /** Passages of a document, separated by "|"; absent for a delete. */
  text?: string;
}

/** What happened, in order. */
export type HistoryEvent =
  /** The store has applied a step. */
  | { kind: 'applied'; write: DocumentWrite; result: DocumentWriteResult }
  /** A client has begun to send, from a sequence on. */
  | { kind: 'opened'; client: number; from: number }
  /** A stream is ready for documents. */
  | { kind: 'ready'; client: number }
  /** A client has received an outcome. */
  | { kind: 'outcome'; client: number; sequence: number; outcome: string; reason: string }
  /** A stream has ended, well where the reason is empty. */
  | { kind: 'closed'; client: number; reason: string }
  /** A client has received a watermark. */
  | { kind: 'watermark'; client: number; sequence: number };

/** What a simulation leaves for whoever judges it. */
export interface SimulatedIngest {
  plans: readonly (readonly PlannedOperation[])[];
  history: readonly HistoryEvent[];
  /** What is stored in the end. */
  store: MemoryStore;
}

/** How often things go wrong, as probabilities of each call. */
const FAULTS = {
  /** The store is away before it has done anything. */
  away: 0.06,
  /** The store has written some of the steps, and is away. */
  half: 0.06,
  /** The store has done everything, and its answer is lost. */
  lost: 0.06,
  /** The store refuses in a way that ends the stream. */
  full: 0.01,
  /** The tower has no room. */
  overloaded: 0.1,
  /** The client breaks the stream off before a message. */
  broken: 0.01,
  /** The service drains: it takes no more messages from the stream. */
  drained: 0.01,
};

/** Several clients, each of which sends its operations until all are covered by a watermark. */
export async function simulateIngest(
  simulation: Simulation,
  plans: readonly (readonly PlannedOperation[])[],
): Promise<SimulatedIngest> {
  const history: HistoryEvent[] = [];
  const pipeline = openPipeline(simulation, history);
  const clients = plans.map((plan, client) => runClient({ simulation, history, pipeline, plan, client }));
  await simulation.run(Promise.all(clients));
  return { plans, history, store: pipeline.store };
}

function openPipeline(simulation: Simulation, history: HistoryEvent[]) {
  const { pause, chance, below } = bound(simulation);
  const data = new MemoryData();
  const now = (): number => simulation.now;
  const record = ({ operation, writes }: StoreCall, answer: unknown): void => {
    if (operation !== 'writeDocuments') return;
    const results = answer as DocumentWriteResult[];
    writes.forEach((write, index) => history.push({ kind: 'applied', write, result: results[index]! }));
  };
  const reliable = new MemoryStore({ data, now, after: record });
  const faulty = new MemoryStore({
    data,
    now,
    before: async ({ operation, writes, collection, options }) => {
      await pause(below(30), options.signal);
      if (chance(FAULTS.full)) throw new StoreError('STORE_FULL', 'the disk is full');
      if (chance(FAULTS.away)) throw away();
      if (operation !== 'writeDocuments' || !chance(FAULTS.half)) return;
      await reliable.writeDocuments(collection, writes.slice(0, below(writes.length + 1)));
      throw away();
    },
    after: async (call, answer) => {
      record(call, answer);
      await pause(below(30), call.options.signal);
      if (chance(FAULTS.lost)) throw away();
    },
  });
  const tower = new FakeTower();
  tower.before = async () => {
    if (chance(FAULTS.overloaded)) throw new TowerError('ENCODER_OVERLOADED', 'the queue is full');
    await pause(below(20));
  };
  const log = pino({ level: 'silent' });
  const settings = { budgetTokens: 1500, maxStreams: 100, backoff: { firstMs: 5, longestMs: 50 } };
  const ingest = new IngestPipeline({ store: faulty, tower, log }, settings);
  return { ingest, store: reliable };
}

async function runClient(parts: {
  simulation: Simulation;
  history: HistoryEvent[];
  pipeline: { ingest: IngestPipeline };
  plan: readonly PlannedOperation[];
  client: number;
}): Promise<void> {
  const { simulation, history, pipeline, plan, client } = parts;
  const { pause, chance, below } = bound(simulation);
  let watermark = 0;
  while (watermark < plan.at(-1)!.sequence) {
    const connection = new AbortController();
    const { signal } = connection;
    const rest = plan.filter(({ sequence }) => sequence > watermark);
    history.push({ kind: 'opened', client, from: rest[0]!.sequence });
    const requests = (async function* () {
      yield beginMessage();
      for (const operation of rest) {
        await pause(below(4));
        if (chance(FAULTS.drained)) return;
        if (chance(FAULTS.broken))
          connection.abort(new ServiceError(status.CANCELLED, 'CLIENT_GONE', 'the client is gone'));
        if (signal.aborted) return;
        yield operationMessage(operation);
      }
    })();
    const write = async ({ ready, outcome, watermark: covered }: IngestResponse): Promise<void> => {
      if (chance(0.1)) await pause(below(10), signal);
      signal.throwIfAborted();
      if (ready) history.push({ kind: 'ready', client });
      if (outcome) {
        const { kind, error } = outcome;
        const reason = error?.message ?? '';
        history.push({
          kind: 'outcome',
          client,
          sequence: Number(outcome.sequence),
          outcome: String(kind),
          reason,
        });
      }
      if (!covered) return;
      watermark = Number(covered.sequence);
      history.push({ kind: 'watermark', client, sequence: watermark });
    };
    const error = await pipeline.ingest.serve({ requests, write, signal }).then(
      () => undefined,
      (cause: unknown) => cause,
    );
    if (error !== undefined && !(error instanceof ServiceError)) throw error;
    history.push({ kind: 'closed', client, reason: error?.reason ?? '' });
    await pause(below(50));
  }
}

function bound(simulation: Simulation) {
  return {
    pause: (ms: number, signal?: AbortSignal) => simulation.pause(ms, signal),
    chance: (probability: number) => simulation.chance(probability),
    below: (limit: number) => simulation.below(limit),
  };
}

function beginMessage(): IngestRequest__Output {
  const begin = { collection: COLLECTION, tenant: '', omitText: false, bulk: false, expectedIdentity: '' };
  return { sequence: '0', begin, operation: 'begin' };
}

function operationMessage({ sequence, documentId, version, text }: PlannedOperation): IngestRequest__Output {
  const own = { id: documentId, version: String(version) };
  if (text === undefined) return { sequence: String(sequence), delete: own, operation: 'delete' };
  const document = { ...own, title: '', text, metadata: null, traceparent: '', expiresAt: null };
  return { sequence: String(sequence), document, operation: 'document' };
}
