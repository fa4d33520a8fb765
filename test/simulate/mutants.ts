import type { ServiceStore } from '../../services/document/service.ts';
import type { DocumentWrite, DocumentWriteResult } from '../../store/writes.ts';
import type { MemoryData } from '../../store/testing/memory-data.ts';
import type { Simulation } from '../../store/testing/simulation.ts';
import type { Fault } from '../faults/judge.ts';
import type { ClientCall, Tampering } from './network.ts';

/** A fault of the product, as a hook of the simulation brings it about: what the judge has to find. */
export interface Mutant extends Tampering {
  /** What the judge may call it. */
  found: readonly Fault[];
  /** Replaces the store that the document service sees. */
  store?(store: ServiceStore, simulation: Simulation): ServiceStore;
  beforeWrite?(data: MemoryData, writes: readonly DocumentWrite[]): void;
  afterWrite?(data: MemoryData, writes: readonly DocumentWrite[]): void;
  /** A server has died. */
  crashed?(data: MemoryData): void;
  ignoresTokens?: boolean;
  /** Changes the call that a client has opened; the number is the client's own, from 1. */
  client?(call: ClientCall, connection: number): void;
}

/** The product as it is. */
export const NO_MUTANT: Mutant = { found: [] };

/** What is done to the product, by name. */
export const MUTANTS: Readonly<Record<string, () => Mutant>> = {
  'acknowledges before it writes': () => ({
    found: ['lost', 'older', 'resurrected', 'stale'],
    store: (store, simulation) =>
      withWrites(store, async (collection, writes) => {
        void simulation
          .pause(simulation.below(400))
          .then(() => store.writeDocuments(collection, writes))
          .catch(() => {});
        return writes.map(believed);
      }),
  }),
  'takes a half-written batch for a whole one': () => ({
    found: ['lost', 'older', 'resurrected', 'stale'],
    store: (store) =>
      withWrites(store, async (collection, writes, options) => {
        try {
          return await store.writeDocuments(collection, writes, options);
        } catch (error) {
          if (options?.signal?.aborted) throw error;
          return writes.map(believed);
        }
      }),
  }),
  'ignores the version rule': () => ({
    found: ['older', 'resurrected', 'lost', 'stale'],
    beforeWrite: (data) => {
      for (const { rows } of data.collections.values()) {
        for (const row of rows.values()) row.remembered = { ...row.remembered, version: 0 };
      }
    },
  }),
  'forgets deletes when it dies': () => ({
    found: ['older', 'resurrected', 'stale', 'lost'],
    ...resurrecting(),
  }),
  'keeps the passages of the version before': () => ({
    found: ['doubled', 'invented', 'older', 'resurrected'],
    ...keepingPassages(),
  }),
  'skips one operation after a reconnect': () => ({
    found: ['watermark', 'lost'],
    client: (call, connection) => {
      const write = call.write.bind(call);
      let isFirst = connection > 1;
      call.write = (message) => {
        if (message.begin || !isFirst) return write(message);
        isFirst = false;
        return true;
      };
    },
  }),
  'sends a watermark that is one too far': () => ({
    found: ['watermark'],
    response: (message) => {
      const { watermark } = message;
      if (!watermark) return message;
      return { ...message, watermark: { ...watermark, sequence: String(Number(watermark.sequence) + 1) } };
    },
  }),
  'applies a checkpoint to another collection': () => {
    let first: string | undefined;
    return {
      found: ['lost', 'invented', 'stale', 'watermark'],
      request: (message) =>
        message.begin ? { ...message, begin: { ...message.begin, expectedIdentity: '' } } : message,
      response: (message) => {
        const { ready, watermark } = message;
        if (ready?.collection) {
          first ??= ready.collection.identity;
          return { ...message, ready: { collection: { ...ready.collection, identity: first } } };
        }
        return watermark ? { ...message, watermark: { ...watermark, freshnessToken: '' } } : message;
      },
    };
  },
  'ignores freshness tokens': () => ({ found: ['stale'], ignoresTokens: true }),
};

function withWrites(store: ServiceStore, writeDocuments: ServiceStore['writeDocuments']): ServiceStore {
  return new Proxy(store, {
    get: (target, name) => {
      if (name === 'writeDocuments') return writeDocuments;
      const value = Reflect.get(target, name) as unknown;
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

/** What a write would have answered. */
function believed({ kind }: DocumentWrite): DocumentWriteResult {
  const outcomes = { put: 'indexed', update: 'updated', confirm: 'unchanged', delete: 'deleted' } as const;
  return { outcome: outcomes[kind] };
}

type Row = NonNullable<ReturnType<NonNullable<ReturnType<MemoryData['collections']['get']>>['rows']['get']>>;

function resurrecting(): Pick<Mutant, 'beforeWrite' | 'crashed'> {
  const deleted = new Map<string, Row>();
  const keyOf = ({ tenant, documentId }: { tenant: string; documentId: string }): string =>
    JSON.stringify([tenant, documentId]);
  return {
    beforeWrite: (data, writes) => {
      for (const write of writes) {
        if (write.kind !== 'delete') deleted.delete(keyOf(write));
        else {
          for (const { rows } of data.collections.values()) {
            const row = rows.get(keyOf(write));
            if (row?.put) deleted.set(keyOf(write), { ...row });
          }
        }
      }
    },
    crashed: (data) => {
      for (const { rows } of data.collections.values()) {
        for (const [key, row] of deleted) rows.set(key, row);
      }
    },
  };
}

function keepingPassages(): Pick<Mutant, 'beforeWrite' | 'afterWrite'> {
  const before = new Map<Row['put'], number>();
  const puts = new Map<string, Row['put']>();
  const eachRow = (data: MemoryData): [string, Row][] =>
    [...data.collections.values()].flatMap(({ identity, rows }) =>
      [...rows].map(([key, row]): [string, Row] => [identity + key, row]),
    );
  return {
    beforeWrite: (data) => {
      for (const [key, { put }] of eachRow(data)) if (put) puts.set(key, put);
    },
    afterWrite: (data) => {
      for (const [key, row] of eachRow(data)) {
        const old = puts.get(key);
        const { put } = row;
        if (!old || !put || old === put || before.has(put)) continue;
        const more = old.passages.slice(put.passages.length);
        if (more.length > 0) row.put = { ...put, passages: [...put.passages, ...more] };
        before.set(row.put, 1);
      }
    },
  };
}
