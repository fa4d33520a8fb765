import { status } from '@grpc/grpc-js';
import type { Logger } from 'pino';
import {
  compareVectors,
  shown,
  type Drift,
  type Golden,
  type ProbedTower,
} from '../../../towers/golden/golden.ts';
import {
  compareSketch,
  measureAll,
  measureSome,
  measuredOf,
  parseSketch,
  sketchText,
  type Measured,
  type Sketch,
} from '../../../towers/golden/sketch.ts';
import { hereOn } from '../../../towers/golden/where.ts';
import type { Tower } from '../../../towers/tower.ts';
import { ServiceError, toServiceError } from '../errors.ts';
import type { Metrics } from '../telemetry/metrics.ts';

/** How often a model that runs elsewhere is asked again, in seconds, where nobody says otherwise. */
export const REMOTE_CHECK_S = 900;

/** Least time between two checks that writers ask for, in milliseconds: each costs the model some 2 000 tokens. */
const RECHECK_MS = 10_000;

/** How soon a model is asked again after a check that failed or found drift, in milliseconds. */
const DOUBT_MS = 30_000;

/** Most collections that are remembered; the one that was opened first goes. */
const MAX_COLLECTIONS = 1000;

/** What the guard needs of a tower. */
export type GuardedTower = ProbedTower & Pick<Tower, 'device'>;

/** A collection that is written to. */
interface Watched {
  name: string;
  sketch: Sketch;
  drift?: Drift;
  lastGood?: Date;
}

/**
 * Sees to it that nothing is written while a tower does not encode as it did when its space, or a collection, was made.
 * It encodes the probes at the start (where the tower came with golden vectors) or before the first write (where only
 * collections have them), and on a timer where the model runs elsewhere.
 */
export class DriftGuard {
  readonly #tower: GuardedTower;
  readonly #golden: Golden | undefined;
  readonly #log: Logger;
  readonly #metrics: Metrics | undefined;
  readonly #intervalMs: number;
  readonly #recheckMs: number;
  readonly #stop = new AbortController();
  readonly #listeners: (() => void)[] = [];
  /** By physical name. */
  readonly #collections = new Map<string, Watched>();
  #own: Pick<Watched, 'drift' | 'lastGood'> = {};
  #measured: { vectors: Measured; at: Date } | undefined;
  #checking: Promise<void> | undefined;
  #endedAt = -Infinity;
  /** Why the last check failed. */
  #failure: unknown;
  #timer: NodeJS.Timeout | undefined;
  #wasDrifted = false;

  /**
   * @param options.golden what the tower came with
   * @param options.intervalMs between two checks; 0 for none but those that are needed
   */
  constructor(options: {
    tower: GuardedTower;
    golden: Golden | undefined;
    intervalMs: number;
    log: Logger;
    metrics?: Metrics | undefined;
    /** @default {@link RECHECK_MS} */
    recheckMs?: number;
  }) {
    this.#tower = options.tower;
    this.#golden = options.golden;
    this.#log = options.log;
    this.#metrics = options.metrics;
    this.#intervalMs = options.intervalMs;
    this.#recheckMs = options.recheckMs ?? RECHECK_MS;
  }

  /** Begins to check: at once where the tower came with golden vectors. */
  start(): void {
    if (this.#golden) void this.check().catch(() => undefined);
    else this.#schedule();
  }

  stop(): void {
    this.#stop.abort();
    clearTimeout(this.#timer);
  }

  /** Called after each check. */
  onCheck(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Why no write is taken, in words: the tower has drifted, or was not asked yet; empty where writes are taken. */
  get refusal(): string {
    const drifted = this.#firstError();
    if (drifted) return drifted.message;
    if (!this.#golden || this.#measured) return '';
    const failure = this.#failure === undefined ? '' : `: ${toServiceError(this.#failure).message}`;
    return `the document tower has not encoded its probes yet${failure}`;
  }

  /** What a new collection keeps. @throws what encoding throws, as a {@link ServiceError} */
  async newRecord(): Promise<string> {
    if (this.#golden) return sketchText(measuredOf(this.#golden), this.#tower, this.#golden);
    if (!this.#measured) await this.#checked();
    return sketchText(this.#measured!.vectors, this.#tower);
  }

  /**
   * Lets a writer in, where the tower encodes as it did.
   *
   * @param record what the collection keeps, where it keeps anything
   * @throws {ServiceError} `SPACE_DRIFTED`; what encoding throws
   */
  async admit(collection: { name: string; physicalName: string }, record: string | undefined): Promise<void> {
    const { name, physicalName } = collection;
    if (record === undefined) this.#collections.delete(physicalName);
    else this.#watch(physicalName, name, parseRecord(name, record));
    if (record === undefined && !this.#golden) return;
    const isOld = performance.now() - this.#endedAt > this.#recheckMs;
    const isInDoubt = this.#failure !== undefined || this.errorOf(physicalName) !== undefined;
    if (!this.#measured || (isInDoubt && isOld)) await this.#checked();
    const error = this.errorOf(physicalName);
    if (error) throw error;
    if (this.#failure !== undefined) throw toServiceError(this.#failure);
  }

  /** What writes to a collection are refused with, as of the last check. */
  errorOf(physicalName: string): ServiceError | undefined {
    const collection = this.#collections.get(physicalName);
    if (this.#own.drift?.drifted) return this.#drifted(this.#own.drift, this.#golden!, this.#own.lastGood);
    if (!collection?.drift?.drifted) return undefined;
    return this.#drifted(collection.drift, collection.sketch, collection.lastGood, collection.name);
  }

  /** Encodes the probes and compares; callers at the same time share a check. @throws what encoding throws */
  check(): Promise<void> {
    this.#checking ??= this.#check().finally(() => {
      this.#checking = undefined;
      this.#endedAt = performance.now();
      this.#schedule();
    });
    return this.#checking;
  }

  async #checked(): Promise<void> {
    await this.check().catch((error: unknown) => {
      throw toServiceError(error);
    });
  }

  async #check(): Promise<void> {
    const { signal } = this.#stop;
    signal.throwIfAborted();
    const at = new Date();
    const tower = counted(this.#tower, this.#metrics);
    try {
      const vectors = this.#golden
        ? await measureAll(tower, this.#golden.probes, signal)
        : await measureSome(tower, signal);
      this.#measured = { vectors, at };
      this.#failure = undefined;
      this.#compare();
    } catch (error) {
      this.#failure = error;
      if (!signal.aborted) {
        this.#log.warn({ err: error }, 'the document tower can’t be compared with its golden vectors');
      }
      throw error;
    } finally {
      for (const listener of this.#listeners) listener();
    }
  }

  /** Compares what was measured last with every record. */
  #compare(): void {
    const { vectors, at } = this.#measured!;
    if (this.#golden) {
      this.#own.drift = compareVectors([...vectors.vectors.values()], this.#golden);
      if (!this.#own.drift.drifted) this.#own.lastGood = at;
    }
    for (const collection of this.#collections.values()) this.#compareOne(collection);
    this.#report();
  }

  #compareOne(collection: Watched): void {
    if (!this.#measured) return;
    const { vectors, at } = this.#measured;
    collection.drift = compareSketch(vectors, collection.sketch);
    if (!collection.drift.drifted) collection.lastGood = at;
  }

  #watch(physicalName: string, name: string, sketch: Sketch): void {
    const known = this.#collections.get(physicalName);
    if (known && known.sketch.vectors === sketch.vectors) {
      known.name = name;
      return;
    }
    const [oldest] = this.#collections.keys();
    if (this.#collections.size >= MAX_COLLECTIONS && oldest !== undefined) this.#collections.delete(oldest);
    const watched: Watched = { name, sketch };
    this.#collections.set(physicalName, watched);
    this.#compareOne(watched);
    if (this.#measured) this.#report();
  }

  /** Says what was found: the numbers each time, and in words when it changes. */
  #report(): void {
    const drifts = [this.#own, ...this.#collections.values()].flatMap(({ drift }) => drift ?? []);
    const drifted = drifts.filter((each) => each.drifted).length;
    const worst = Math.max(0, ...drifts.map((each) => each.worst));
    if (this.#metrics && drifts.length > 0) {
      // 2 is the distance of opposite directions, and the most; no direction at all is no better.
      this.#metrics.spaceDrift({}).value = Math.min(2, worst);
      this.#metrics.spaceDrifted({}).value = drifted;
      if (drifted === 0) this.#metrics.spaceVerified({}).value = this.#measured!.at.getTime() / 1000;
    }
    if (drifted > 0 !== this.#wasDrifted) {
      this.#wasDrifted = drifted > 0;
      if (drifted > 0) this.#log.error({ worst, drifted }, this.#firstError()!.message);
      else this.#log.info({ worst }, 'the document tower encodes as it did again; writes are taken');
    } else if (drifts.length > 0) {
      const { worst: most, median, tolerance } = drifts.reduce((a, b) => (b.worst > a.worst ? b : a));
      this.#log.info(
        { worst: most, median, tolerance },
        'the document tower was compared with its golden vectors',
      );
    }
  }

  #firstError(): ServiceError | undefined {
    for (const physicalName of ['', ...this.#collections.keys()]) {
      const error = this.errorOf(physicalName);
      if (error) return error;
    }
    return undefined;
  }

  #drifted(
    { worst, median, tolerance, probes }: Drift,
    record: Pick<Golden, 'recordedAt' | 'recordedOn'>,
    lastGood: Date | undefined,
    collection?: string,
  ): ServiceError {
    const { manifest, device } = this.#tower;
    const recorded = Object.values(record.recordedOn).join('; ');
    const now = Object.values(hereOn(device)).join('; ');
    const measuredAt = this.#measured!.at.toISOString();
    const since = lastGood?.toISOString();
    return new ServiceError(
      status.FAILED_PRECONDITION,
      'SPACE_DRIFTED',
      `document tower ${manifest.name} does not encode as on ${record.recordedAt}` +
        `${collection === undefined ? '' : `, when collection "${collection}" was made`}: at ${measuredAt} its vectors of ` +
        `${probes} probes are off by a cosine distance of ${shown(worst)} at the worst and ${shown(median)} in the median, ` +
        `where ${shown(tolerance)} is tolerated; bring the model back that made the space. Nothing is written meanwhile; ` +
        `what was written ${since === undefined ? 'before this start' : `after ${since}`} can't be vouched for`,
      {
        metadata: {
          tower: manifest.name,
          ...(collection !== undefined && { collection }),
          recorded_at: record.recordedAt,
          recorded_on: recorded.slice(0, 256),
          measured_at: measuredAt,
          measured_on: now.slice(0, 256),
          worst: shown(worst),
          median: shown(median),
          tolerance: shown(tolerance),
          last_good: since ?? '',
        },
      },
    );
  }

  /** The next check: soon where there is doubt, else after the interval. */
  #schedule(): void {
    clearTimeout(this.#timer);
    if (this.#stop.signal.aborted || this.#intervalMs === 0) return;
    const isInDoubt = this.#failure !== undefined || this.#wasDrifted;
    const waitMs = isInDoubt ? Math.min(DOUBT_MS, this.#intervalMs) : this.#intervalMs;
    this.#timer = setTimeout(() => void this.check().catch(() => undefined), waitMs);
    this.#timer.unref();
  }
}

/** @throws {ServiceError} where a newer version wrote what the collection keeps */
function parseRecord(name: string, record: string): Sketch {
  try {
    return parseSketch(record);
  } catch (error) {
    throw new ServiceError(
      status.FAILED_PRECONDITION,
      'COLLECTION_LAYOUT',
      `collection "${name}": ${(error as Error).message}; use the version of scalingnote that made it, or a later one`,
      { metadata: { collection: name }, cause: error },
    );
  }
}

/** The same tower, its tokens counted. */
function counted(tower: GuardedTower, metrics: Metrics | undefined): GuardedTower {
  if (!metrics) return tower;
  return {
    manifest: tower.manifest,
    device: tower.device,
    tokenizeAll: (texts, options) => tower.tokenizeAll(texts, options),
    encodeAll: (inputs, options) => {
      metrics.probeTokens({}).add(inputs.reduce((sum, { ids }) => sum + ids.length, 0));
      return tower.encodeAll(inputs, options);
    },
  };
}
