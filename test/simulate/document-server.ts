import { pino } from 'pino';
import { documentService, type ServiceStore } from '../../services/document/service.ts';
import { IngestPipeline } from '../../services/document/ingest/pipeline.ts';
import { FakeTower } from '../../services/document/testing/fake-tower.ts';
import { StoreError } from '../../store/errors.ts';
import type { DocumentWrite, DocumentWriteResult } from '../../store/writes.ts';
import { rowKey } from '../../store/testing/memory-rows.ts';
import type { MemoryData } from '../../store/testing/memory-data.ts';
import { MemoryStore, type StoreCall } from '../../store/testing/memory-store.ts';
import type { Simulation } from '../../store/testing/simulation.ts';
import { TowerError } from '../../towers/errors.ts';
import type { FaultMix } from './fault-mix.ts';
import type { Mutant } from './mutants.ts';
import type { Connection } from './network.ts';
import type { Sometimes } from './sometimes.ts';

/** What a process runs in. */
export interface Surroundings {
  readonly simulation: Simulation;
  readonly mix: FaultMix;
  readonly mutant: Mutant;
  /** Counts that something happened. */
  happened(what: Sometimes): void;
}

const silent = pino({ level: 'silent' });

/** One process of the document service. */
export class SimulatedServer {
  readonly connections = new Set<Connection>();
  readonly #around: Surroundings;
  readonly #draining = new AbortController();
  readonly #ingest: (call: unknown) => unknown;
  readonly deserialize: (bytes: Buffer) => unknown;
  #isDead = false;
  #calls = 0;
  #idle = (): void => {};

  constructor(around: Surroundings, data: MemoryData) {
    this.#around = around;
    const { simulation, mix } = around;
    const tower = new FakeTower();
    tower.before = async () => {
      if (mix.tower && simulation.chance(0.1)) {
        around.happened('tower overloaded');
        throw new TowerError('ENCODER_OVERLOADED', 'the queue is full');
      }
      if (simulation.chance(0.5)) await simulation.pause(simulation.below(20));
      if (mix.tower && simulation.chance(0.02)) await simulation.pause(simulation.below(1500));
    };
    const store = this.#faultyStore(data);
    const pipeline = new IngestPipeline(
      { store, tower, log: silent },
      { budgetTokens: 1500, maxStreams: 6, backoff: { firstMs: 5, longestMs: 50 } },
    );
    const service = documentService({ store, pipeline, describe: () => ({}) });
    const handlers = service.bind({
      log: silent,
      draining: this.#draining.signal,
      enter: () => {
        this.#calls++;
        return () => {
          this.#calls--;
          if (this.#calls === 0) this.#idle();
        };
      },
    });
    this.#ingest = handlers['Ingest'] as unknown as (call: unknown) => unknown;
    const { requestDeserialize } = service.definition['Ingest']!;
    this.deserialize = (bytes) => requestDeserialize(bytes) as unknown;
  }

  get isDraining(): boolean {
    return this.#draining.signal.aborted || this.#isDead;
  }

  serve(connection: Connection): void {
    this.connections.add(connection);
    void this.#ingest(connection.server);
  }

  /** Lets streams finish what is in flight, for a while. */
  async drain(): Promise<void> {
    const { simulation } = this.#around;
    this.#draining.abort();
    const idle =
      this.#calls === 0 ? Promise.resolve() : new Promise<void>((resolve) => (this.#idle = resolve));
    await Promise.race([idle, simulation.pause(300)]);
    // What was sent last is flushed.
    await simulation.pause(20);
  }

  /** From now on, nothing that it does has an effect. */
  die(): void {
    this.#isDead = true;
  }

  /** The store as this process sees it. */
  #faultyStore(data: MemoryData): ServiceStore {
    const around = this.#around;
    const { simulation, mix, mutant } = around;
    const now = (): number => simulation.now;
    const reliable = new MemoryStore({ data, now, after: (call, answer) => this.#watch(data, call, answer) });
    const alive = async (): Promise<void> => {
      if (this.#isDead) await new Promise(() => {});
    };
    const faulty = new MemoryStore({
      data,
      now,
      before: async (call) => {
        const { operation, writes, collection, options } = call;
        if (simulation.chance(0.7)) await simulation.pause(simulation.below(30), options.signal);
        await alive();
        if (operation === 'writeDocuments') mutant.beforeWrite?.(data, writes);
        if (mix.full && simulation.chance(0.005)) {
          around.happened('store full');
          throw new StoreError('STORE_FULL', 'the disk is full');
        }
        if (mix.store && simulation.chance(0.06)) {
          around.happened('store away');
          throw away();
        }
        if (!mix.store || operation !== 'writeDocuments' || !simulation.chance(0.06)) return;
        const half = simulation.below(writes.length + 1);
        await reliable.writeDocuments(collection, writes.slice(0, half));
        if (half > 0 && half < writes.length) around.happened('retry after a partial write');
        throw away();
      },
      after: async (call, answer) => {
        this.#watch(data, call, answer);
        if (call.operation === 'writeDocuments') mutant.afterWrite?.(data, call.writes);
        if (simulation.chance(0.5)) await simulation.pause(simulation.below(30), call.options.signal);
        await alive();
        if (mix.store && simulation.chance(0.06)) {
          around.happened('answer of the store lost');
          throw away();
        }
      },
    });
    return mutant.store?.(faulty, simulation) ?? faulty;
  }

  #watch(data: MemoryData, { operation, writes, collection }: StoreCall, answer: unknown): void {
    if (operation !== 'writeDocuments') return;
    const around = this.#around;
    const results = answer as DocumentWriteResult[];
    const has = (outcome: DocumentWriteResult['outcome'], kind?: DocumentWrite['kind']): boolean =>
      results.some((result, index) => result.outcome === outcome && (!kind || writes[index]!.kind === kind));
    if (has('stale') && results.some(({ outcome }) => outcome !== 'stale')) {
      around.happened('stale version inside a batch');
    }
    const rows = data.collections.get(collection)?.rows;
    const meetsDelete = results.some(({ outcome }, index) => {
      const write = writes[index]!;
      const isStale = outcome === 'stale' && write.kind === 'put';
      return isStale && rows?.get(rowKey(write))?.remembered.kind === 'delete';
    });
    if (meetsDelete) around.happened('remembered delete refuses an older document');
    if (has('stale', 'delete')) around.happened('older delete refused');
    if (has('updated')) around.happened('metadata changed without encoding');
    if (has('changed', 'update')) around.happened('change retried because the content had changed');
    if (has('changed', 'confirm')) around.happened('confirm of content that has changed');
  }
}

function away(): StoreError {
  return new StoreError('STORE_UNAVAILABLE', 'the store is away');
}
