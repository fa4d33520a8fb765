import { status as Code } from '@grpc/grpc-js';
import { type ScalingnoteError, toScalingnoteError } from '../../clients/errors.ts';
import type { SearchResponse__Output } from '../../proto/generated/scalingnote/v1/SearchResponse.ts';
import { fromStruct } from '../../proto/struct.ts';
import { newIdentity } from '../../store/names.ts';
import { passageTexts } from '../../store/document.ts';
import { MemoryData } from '../../store/testing/memory-data.ts';
import { MemoryStore } from '../../store/testing/memory-store.ts';
import type { Simulation } from '../../store/testing/simulation.ts';
import type { ClientEvent, Clocks, DocumentState, HistoryEvent, Untimed } from '../faults/history.ts';
import type { Mutant } from './mutants.ts';
import { Connection, transportError } from './network.ts';
import type { Counts, Sometimes } from './sometimes.ts';
import { SimulatedServer } from './document-server.ts';
import type { FaultMix } from './fault-mix.ts';
import { Replica, simulatedSearch } from './replica.ts';

/** Logical name of the collection that all clients write to. */
export const COLLECTION = 'docs';

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
  /** Of watermarks, with the clients that were given them. */
  readonly tokens: { client: string; token: string }[] = [];
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
    this.#search = simulatedSearch(this.#replica, simulation);
    this.#server = new SimulatedServer(this, this.#data);
  }

  /** Writes down what a client saw, or what was done to the store. */
  record(event: Untimed<HistoryEvent>): void {
    this.events.push({ ...event, at: ++this.#time });
    if (event.kind === 'watermark' && event.token !== '') {
      const { client, token } = event;
      this.tokens.push({ client, token });
    }
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
