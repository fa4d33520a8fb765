import { isDeepStrictEqual } from 'node:util';
import { AdoptedCollection } from './adopted/collection.ts';
import type { QdrantConfig } from './config.ts';
import type { Described } from './described.ts';
import { type Copies, Marker } from './freshness.ts';
import { Points } from './points.ts';
import { Searcher } from './search.ts';
import { sweep } from './sweep.ts';
import type { Transport } from './transport/transport.ts';

/**
 * What this process knows about a physical collection in use. It does not change while the collection exists.
 */
export interface OpenCollection {
  /** How to read it where others made it: then nothing below is used. */
  adopted: AdoptedCollection | undefined;
  identity: string;
  copies: Copies;
  points: Points;
  marker: Marker;
  dimensions: number;
  searcher: Searcher;
  /** See `Described`. */
  mostValues: number | undefined;
  /** When this process last swept it, by the clock of `performance`. */
  sweptAt: number;
}

/** How often a process that writes sweeps a collection, in milliseconds. */
const SWEEP_EVERY_MS = 600_000;

/** The collections that this process has used, by physical name. */
export class OpenCollections {
  readonly #transport: Transport;
  readonly #config: QdrantConfig;
  readonly #known = new Map<string, OpenCollection>();
  readonly #sweeps = new Set<Promise<unknown>>();
  readonly #closing: AbortSignal;

  /** @param closing aborted when the store is closed, which ends background work */
  constructor(transport: Transport, config: QdrantConfig, closing: AbortSignal) {
    this.#transport = transport;
    this.#config = config;
    this.#closing = closing;
  }

  get(physical: string): OpenCollection | undefined {
    return this.#known.get(physical);
  }

  delete(physical: string): void {
    this.#known.delete(physical);
  }

  /** What is known of a collection, or what its description says where that is news. */
  remember(described: Described): OpenCollection {
    const { physical, space, identity, copies, binary, adoption, mostValues } = described;
    const known = this.#known.get(physical);
    if (known?.identity === identity && isDeepStrictEqual(known.copies, copies)) return known;
    const { hnswEf, oversampling, exact = false } = this.#config;
    const points = new Points(this.#transport, physical, copies.replicas > 1);
    const settings = { hnswEf, oversampling, exact, binary };
    const searcher = new Searcher(points, space.dimensions, settings);
    const adopted = adoption && new AdoptedCollection(this.#transport, physical, adoption, settings);
    const marker = new Marker(points, this.#closing);
    const { dimensions } = space;
    const open = {
      identity,
      copies,
      points,
      marker,
      searcher,
      dimensions,
      adopted,
      mostValues,
      sweptAt: -Infinity,
    };
    this.#known.set(physical, open);
    return open;
  }

  /** Runs beside the write, which does not wait for it. If it fails, the next sweep does the work. */
  sweepNowAndThen(open: OpenCollection): void {
    const now = performance.now();
    if (now - open.sweptAt < SWEEP_EVERY_MS) return;
    open.sweptAt = now;
    const work = sweep(open.points, Date.now(), { signal: this.#closing }).catch(() => undefined);
    this.#sweeps.add(work);
    void work.finally(() => this.#sweeps.delete(work));
  }

  /** Resolves when no sweep runs. */
  async idle(): Promise<void> {
    await Promise.allSettled(this.#sweeps);
  }
}
