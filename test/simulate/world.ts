import { Metadata, status as Code } from '@grpc/grpc-js';
import { pino } from 'pino';
import { type ScalingnoteError, toScalingnoteError } from '../../clients/errors.ts';
import type { SearchResponse__Output } from '../../proto/generated/scalingnote/v1/SearchResponse.ts';
import { fromStruct } from '../../proto/struct.ts';
import { documentService, type ServiceStore } from '../../services/document/service.ts';
import { IngestPipeline } from '../../services/document/ingest/pipeline.ts';
import { FakeTower } from '../../services/document/testing/fake-tower.ts';
import { queryService } from '../../services/query/service.ts';
import { FakeTower as FakeQueryTower } from '../../services/query/testing/fakes.ts';
import { newIdentity } from '../../store/names.ts';
import { StoreError } from '../../store/errors.ts';
import type { SearchHit } from '../../store/queries.ts';
import type { DocumentWrite, DocumentWriteResult } from '../../store/writes.ts';
import { passageTexts } from '../../store/document.ts';
import { MemoryData, MemoryStore, type StoreCall } from '../../store/testing/memory-store.ts';
import type { Simulation } from '../../store/testing/simulation.ts';
import { TowerError } from '../../towers/errors.ts';
import type { ClientEvent, Clocks, DocumentState, HistoryEvent, Untimed } from '../faults/history.ts';
import type { Mutant } from './mutants.ts';
import { Connection, transportError } from './network.ts';
import type { Counts, Sometimes } from './sometimes.ts';
import { rowKey } from '../../store/testing/memory-rows.ts';

/** Logical name of the collection that all clients write to. */
export const COLLECTION = 'docs';

/** Faults that a simulation has or has not; each has most of them, so that they meet in many ways. */
export interface FaultMix {
  store: boolean;
  full: boolean;
  tower: boolean;
  cuts: boolean;
  halfOpen: boolean;
  drains: boolean;
  crashes: boolean;
  drops: boolean;
  restores: boolean;
  jumps: boolean;
  clientKills: boolean;
  /** Most milliseconds that a message takes. */
  latency: number;
  /** Most milliseconds between two mishaps. */
  calm: number;
}

type StoredCollection = NonNullable<ReturnType<MemoryData['collections']['get']>>;

/** A store, what replicates it, the services before it, and the network around them. */
export class World {
  readonly simulation: Simulation;
  readonly mix: FaultMix;
  readonly mutant: Mutant;
  readonly events: HistoryEvent[] = [];
  readonly counts: Counts = {};
  /** The store as it is, without faults. */
  readonly store: MemoryStore;
  readonly tokens: string[] = [];
  readonly connections = new Set<Connection>();
  readonly #data = new MemoryData();
  readonly #replicaData = new MemoryData();
  readonly #replica: Replica;
  /** The state that the replica has, or will have in a moment. */
  #replicated = '';
  readonly #search: (request: object, deadline: number) => Promise<SearchResponse__Output>;
  #server: SimulatedServer | undefined;
  #time = 0;
  #connections = 0;
  #latestClock: number;
  readonly #reads = new Set<{ least: number }>();

  constructor(simulation: Simulation, mix: FaultMix, mutant: Mutant) {
    this.simulation = simulation;
    this.mix = mix;
    this.mutant = mutant;
    this.#latestClock = simulation.now;
    const now = (): number => simulation.now;
    this.store = new MemoryStore({ data: this.#data, now });
    this.#replica = new Replica({ data: this.#replicaData, now });
    this.#search = simulatedSearch(this.#replica, this);
    this.#server = new SimulatedServer(this, this.#data);
  }

  /** Writes down what a client saw, or what was done to the store. */
  record(event: Untimed<HistoryEvent>): void {
    this.events.push({ ...event, at: ++this.#time });
    if (event.kind === 'watermark' && event.token !== '') this.tokens.push(event.token);
  }

  readonly recordClient = (event: ClientEvent): void => this.record(event);

  happened(what: Sometimes): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }

  /** Opens a stream to whatever server is there. */
  connect(): Connection {
    const { simulation, mix, mutant } = this;
    const number = ++this.#connections;
    const halfOpenMs = mix.halfOpen ? simulation.pick([0, 80, 1000]) : 0;
    const server = this.#server;
    const connection = new Connection(simulation, number, (bytes) => server?.deserialize(bytes), {
      tampering: mutant,
      halfOpenMs,
      latency: mix.latency,
    });
    connection.onUnnoticed = () => this.happened('connection cut while the server does not notice');
    if (!server || server.isDraining) {
      this.happened('connection refused');
      void simulation
        .pause(simulation.below(5))
        .then(() =>
          connection.client.emit('error', transportError(Code.UNAVAILABLE, 'connect ECONNREFUSED')),
        );
      return connection;
    }
    this.connections.add(connection);
    connection.onOver = () => this.connections.delete(connection);
    server.serve(connection);
    return connection;
  }

  /** The server ends in order, and another one takes its place. */
  async drain(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    this.happened('server drained');
    await server.drain();
    await this.#replace(server);
  }

  /** The server's process dies, and another one takes its place. */
  async crash(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    this.happened('server killed');
    server.die();
    this.mutant.crashed?.(this.#data);
    await this.#replace(server);
  }

  async #replace(server: SimulatedServer): Promise<void> {
    for (const connection of server.connections) connection.cut();
    server.die();
    this.#server = undefined;
    await this.simulation.pause(this.simulation.below(100));
    this.#server = new SimulatedServer(this, this.#data);
  }

  /** Somebody drops the collection; whoever begins next makes another one. */
  drop(): void {
    const found = this.#current();
    if (!found) return;
    if (this.connections.size > 0) this.happened('collection dropped in mid-stream');
    this.#data.collections.delete(found.physicalName);
    this.#data.aliases.delete(COLLECTION);
    this.record({ kind: 'dropped', identity: found.identity });
  }

  /** A copy of the collection, to go back to. */
  backup(): StoredCollection | undefined {
    const found = this.#current();
    return found && copyOf(found);
  }

  /** Somebody restores the collection from a backup. */
  restore(backup: StoredCollection): void {
    const found = this.#current();
    if (found) this.record({ kind: 'dropped', identity: found.identity });
    const identity = newIdentity();
    this.#data.collections.set(backup.physicalName, { ...copyOf(backup), identity });
    this.#data.aliases.set(COLLECTION, backup.physicalName);
    this.record({ kind: 'restored', identity, from: backup.identity });
    this.happened('collection restored to an older state');
  }

  /** The clock on the wall is set. */
  jump(ms: number): void {
    this.simulation.jump(ms);
    const { now } = this.simulation;
    for (const read of this.#reads) read.least = Math.min(read.least, now);
    this.#latestClock = Math.max(this.#latestClock, now, now - ms);
    this.happened('clock jumped');
  }

  /** The replica comes to what the store was a moment ago. */
  async replicate(): Promise<void> {
    const state = [...this.#data.collections.values()]
      .map(({ identity, writes }) => `${identity} ${writes}`)
      .concat([...this.#data.aliases.keys()])
      .join();
    if (state === this.#replicated) return;
    this.#replicated = state;
    const collections = [...this.#data.collections].map(([name, found]) => [name, copyOf(found)] as const);
    const aliases = [...this.#data.aliases];
    await this.simulation.pause(this.simulation.below(100));
    this.#replicaData.collections.clear();
    for (const [name, found] of collections) this.#replicaData.collections.set(name, found);
    this.#replicaData.aliases.clear();
    for (const [alias, name] of aliases) this.#replicaData.aliases.set(alias, name);
  }

  /** Searches the replica for everything of a tenant; the history has it if it was answered. */
  async read(tenant: string, token: string): Promise<void> {
    const { simulation } = this;
    const from = ++this.#time;
    const clocks = { least: simulation.now };
    const { refusals } = this.#replica;
    this.#reads.add(clocks);
    try {
      const request = {
        collection: COLLECTION,
        tenant,
        query: 'anything',
        limit: 1000,
        atLeastAsFreshAs: this.mutant.ignoresTokens ? '' : token,
      };
      const { hits } = await this.#search(request, simulation.now + 50 + simulation.below(200));
      const documents = hits.map(({ documentId, version, title, text, metadata }): DocumentState => ({
        id: documentId,
        version: Number(version),
        title,
        passages: [text],
        metadata: fromStruct(metadata),
      }));
      this.record({ kind: 'read', from, tenant, token, clocks: this.#clocks(clocks.least), documents });
      this.happened('search that was fresh');
      if (this.#replica.refusals > refusals) this.happened('fresh search that had to wait');
    } catch (error) {
      const { reason } = toScalingnoteError(error) as ScalingnoteError;
      if (reason === 'STORE_NOT_FRESH') this.happened('fresh search refused: the replica is behind');
      if (reason === 'COLLECTION_REPLACED')
        this.happened('fresh search refused: the collection is another one');
    } finally {
      this.#reads.delete(clocks);
    }
  }

  /** Writes down what is stored in the end. */
  async close(tenants: readonly string[]): Promise<void> {
    const found = this.#current();
    if (!found) return;
    for (const { put } of found.rows.values()) {
      if ((put?.expiresAt ?? Infinity) <= this.simulation.now) this.happened('document expired');
    }
    for (const tenant of tenants) {
      const { documents } = await this.store.scroll(COLLECTION, tenant, { limit: 10_000 });
      this.record({
        kind: 'final',
        identity: found.identity,
        tenant,
        clocks: this.#clocks(this.simulation.now),
        documents: documents.map((document) => {
          const passages = passageTexts(document);
          const { documentId: id, version, title, metadata } = document;
          return { id, version, title, text: passages.join('|'), passages, metadata };
        }),
        counted: await this.store.count(COLLECTION, tenant),
      });
    }
  }

  #clocks(least: number): Clocks {
    const { now } = this.simulation;
    this.#latestClock = Math.max(this.#latestClock, now);
    return { least: Math.min(least, now), most: this.#latestClock };
  }

  #current(): StoredCollection | undefined {
    const physicalName = this.#data.aliases.get(COLLECTION);
    return physicalName === undefined ? undefined : this.#data.collections.get(physicalName);
  }
}

/** Rows are changed in place, so a copy has its own. */
function copyOf({ rows, ...rest }: StoredCollection): StoredCollection {
  return { ...rest, rows: new Map([...rows].map(([key, row]) => [key, { ...row }])) };
}

/** A store that counts how often it was not as fresh as somebody asked. */
class Replica extends MemoryStore {
  refusals = 0;

  override async search(...call: Parameters<MemoryStore['search']>): Promise<SearchHit[]> {
    try {
      return await super.search(...call);
    } catch (error) {
      if (error instanceof StoreError && error.reason === 'STORE_NOT_FRESH') this.refusals++;
      throw error;
    }
  }
}

const silent = pino({ level: 'silent' });

/** One process of the document service. */
class SimulatedServer {
  readonly connections = new Set<Connection>();
  readonly #world: World;
  readonly #draining = new AbortController();
  readonly #ingest: (call: unknown) => unknown;
  readonly deserialize: (bytes: Buffer) => unknown;
  #isDead = false;
  #calls = 0;
  #idle = (): void => {};

  constructor(world: World, data: MemoryData) {
    this.#world = world;
    const { simulation, mix } = world;
    const tower = new FakeTower();
    tower.before = async () => {
      if (mix.tower && simulation.chance(0.1)) {
        world.happened('tower overloaded');
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
    const { simulation } = this.#world;
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
    const world = this.#world;
    const { simulation, mix, mutant } = world;
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
          world.happened('store full');
          throw new StoreError('STORE_FULL', 'the disk is full');
        }
        if (mix.store && simulation.chance(0.06)) {
          world.happened('store away');
          throw away();
        }
        if (!mix.store || operation !== 'writeDocuments' || !simulation.chance(0.06)) return;
        const half = simulation.below(writes.length + 1);
        await reliable.writeDocuments(collection, writes.slice(0, half));
        if (half > 0 && half < writes.length) world.happened('retry after a partial write');
        throw away();
      },
      after: async (call, answer) => {
        this.#watch(data, call, answer);
        if (call.operation === 'writeDocuments') mutant.afterWrite?.(data, call.writes);
        if (simulation.chance(0.5)) await simulation.pause(simulation.below(30), call.options.signal);
        await alive();
        if (mix.store && simulation.chance(0.06)) {
          world.happened('answer of the store lost');
          throw away();
        }
      },
    });
    return mutant.store?.(faulty, simulation) ?? faulty;
  }

  #watch(data: MemoryData, { operation, writes, collection }: StoreCall, answer: unknown): void {
    if (operation !== 'writeDocuments') return;
    const world = this.#world;
    const results = answer as DocumentWriteResult[];
    const has = (outcome: DocumentWriteResult['outcome'], kind?: DocumentWrite['kind']): boolean =>
      results.some((result, index) => result.outcome === outcome && (!kind || writes[index]!.kind === kind));
    if (has('stale') && results.some(({ outcome }) => outcome !== 'stale')) {
      world.happened('stale version inside a batch');
    }
    const rows = data.collections.get(collection)?.rows;
    const meetsDelete = results.some(({ outcome }, index) => {
      const write = writes[index]!;
      const isStale = outcome === 'stale' && write.kind === 'put';
      return isStale && rows?.get(rowKey(write))?.remembered.kind === 'delete';
    });
    if (meetsDelete) world.happened('remembered delete refuses an older document');
    if (has('stale', 'delete')) world.happened('older delete refused');
    if (has('updated')) world.happened('metadata changed without encoding');
    if (has('changed', 'update')) world.happened('change retried because the content had changed');
    if (has('changed', 'confirm')) world.happened('confirm of content that has changed');
  }
}

function away(): StoreError {
  return new StoreError('STORE_UNAVAILABLE', 'the store is away');
}

/** The query service over the replica. */
function simulatedSearch(
  store: MemoryStore,
  { simulation }: World,
): (request: object, deadline: number) => Promise<SearchResponse__Output> {
  const tower = new FakeQueryTower({ prompt: '' });
  const service = queryService({ tower, store, slots: 4, queue: 16, cache: 0, log: silent });
  const handlers = service.bind({
    log: silent,
    draining: new AbortController().signal,
    enter: () => () => {},
  });
  const { requestSerialize, requestDeserialize, responseSerialize, responseDeserialize } =
    service.definition['Search']!;
  const search = handlers['Search'] as unknown as (
    call: unknown,
    callback: (error: Error | null, response?: unknown) => void,
  ) => unknown;
  return (request, deadline) =>
    new Promise((resolve, reject) => {
      const call = {
        request: requestDeserialize(requestSerialize(request)) as object,
        metadata: new Metadata(),
        getDeadline: () => deadline,
        once: (_: 'cancelled', listener: () => void) =>
          void simulation.pause(deadline - simulation.now).then(listener),
      };
      void search(call, (error, response) => {
        if (error) reject(error);
        else resolve(responseDeserialize(responseSerialize(response)) as SearchResponse__Output);
      });
    });
}
