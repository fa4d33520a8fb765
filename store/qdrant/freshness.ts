import { randomBytes } from 'node:crypto';
import { invalidArgument, StoreError } from '../errors.ts';
import type { CallOptions } from '../store.ts';
import { bodyId, generationAt, newGeneration, NO_PASSAGE } from './layout.ts';
import type { Points } from './points.ts';
import { hiddenPoint } from './prepare.ts';
import { remainingMs, sleep, throwIfOver } from './transport/bounds.ts';
import { Failure, lacksCopies } from './transport/failure.ts';

/**
 * Freshness in Qdrant.
 *
 * Where every copy of a shard has to accept a write before it is acknowledged, each read is as fresh as the last
 * acknowledged write, and the position says so ({@link EVERYWHERE}). That is so with one copy, and with a
 * `write_consistency_factor` as high as the `replication_factor`.
 *
 * Elsewhere a copy may lag behind. Then `freshness` writes *markers*: points that are no documents, enough of them that
 * each shard has one. A copy applies changes in the order in which the shard's leader gives them out, so a copy that has
 * the marker has what was acknowledged before it. A search that has to be fresh first counts the markers with
 * `consistency=all`: Qdrant asks every copy and answers with the least count. Once all have them, any copy may answer.
 *
 * The parameter on the search itself would not do: of copies that differ, Qdrant leaves out the points that differ, so a
 * document that one copy does not have yet would be missing. And its names are no help: the server does for `majority`
 * what its documentation says of `quorum`, and the reverse.
 *
 * Limits: `replication_factor` has to say how many copies there are; a copy that was added by hand is not counted. While
 * a copy is dead, a collection of several shards has no fresh searches (`STORE_NOT_FRESH`); one of a single shard has,
 * because there the copies that are left can be counted. A node that was cut off and has not yet heard that its copies
 * were set aside, usually for less than a second, can hand out a marker that they should not have.
 */
export interface Copies {
  shards: number;
  /** Of each shard. */
  replicas: number;
  /** Copies that have to accept a write. */
  writeConsistency: number;
}

/** The position of a collection none of whose copies can lag; with the number of the moment, to compare documents with. */
const EVERYWHERE = /^everywhere(-\d{1,16})?$/;

/** Markers for each of several shards: by chance, one in 10^12 of the shards has none. */
const MARKERS_PER_SHARD = 32;

/** How long a position counts, in milliseconds; markers stay a day longer. */
const POSITION_MS = 30 * 24 * 3_600_000;
export const MARKERS_MS = POSITION_MS + 24 * 3_600_000;

const POSITION = /^(?<lane>[0-9a-f]{12})-(?<generation>\d{1,16})$/;

/** Makes the positions of one process in one collection. */
export class Marker {
  /** Tells the markers of processes apart: only their own order means something. */
  readonly #lane = randomBytes(6).toString('hex');
  readonly #points: Points;
  readonly #closed: AbortSignal;
  #current: Promise<string> | undefined;
  #next: Promise<string> | undefined;

  /** @param closed ends what is under way */
  constructor(points: Points, closed: AbortSignal) {
    this.#points = points;
    this.#closed = closed;
  }

  /** The position after everything that has been acknowledged. Calls at the same time share their markers. */
  position(copies: Copies, options: CallOptions): Promise<string> {
    if (!canLag(copies)) return Promise.resolve(`everywhere-${newGeneration(0)}`);
    return within(this.#shared(copies), options);
  }

  #shared(copies: Copies): Promise<string> {
    // A marker that is on its way may have overtaken what was acknowledged just now; the next one has not.
    if (!this.#current) return (this.#current = this.#mark(copies));
    this.#next ??= this.#current.then(
      () => this.#mark(copies),
      () => this.#mark(copies),
    );
    return this.#next;
  }

  async #mark(copies: Copies): Promise<string> {
    this.#next = undefined;
    const generation = newGeneration(0);
    const ids = markerIds(this.#lane, copies);
    const points = ids.map((id) => hiddenPoint(id, { passage: NO_PASSAGE, generation }, 'a marker'));
    try {
      await this.#points.upsert(points, { ordered: true }, { signal: this.#closed });
    } finally {
      this.#current = this.#next;
    }
    return `${this.#lane}-${generation}`;
  }
}

/**
 * Checks that every copy has come as far as a position.
 *
 * @throws {StoreError} `STORE_NOT_FRESH`, or `STORE_INVALID_ARGUMENT` if the position is not one of ours
 */
export async function checkPosition(
  points: Points,
  collection: string,
  copies: Copies,
  position: string,
  options: CallOptions,
): Promise<void> {
  if (EVERYWHERE.test(position)) return;
  const { lane, generation } = POSITION.exec(position)?.groups ?? {};
  if (lane === undefined) {
    throw invalidArgument(
      `freshness position ${JSON.stringify(position)} is not one of a Qdrant store; hand it on as it came`,
    );
  }
  if (Number(generation) < generationAt(Date.now() - POSITION_MS)) {
    throw invalidArgument('the freshness is more than 30 days old; use that of a later watermark');
  }
  const ids = markerIds(lane, copies);
  const filter = { must: [{ has_id: ids }, { key: 'generation', range: { gte: Number(generation) } }] };
  for (let consistency: number | 'all' = 'all'; ;) {
    try {
      if ((await points.count(filter, options, { consistency })) === ids.length) return;
      throw notFresh(`a copy of collection "${collection}" is behind; search again a little later`);
    } catch (error) {
      if (!(error instanceof Failure && lacksCopies(error))) throw error;
      const fewer: number = (consistency === 'all' ? copies.replicas : consistency) - 1;
      // With several shards, some may have more copies than others, and a smaller number would leave those out.
      if (copies.shards > 1 || fewer < 1) {
        throw notFresh(`a copy of collection "${collection}" does not answer; search again once it does`);
      }
      consistency = fewer;
    }
  }
}

/** Waits as long as a caller's bounds allow. */
async function within<Result>(work: Promise<Result>, options: CallOptions): Promise<Result> {
  const over = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, over.signal]) : over.signal;
  const bound = sleep(Math.min(remainingMs(options), LONGEST_WAIT_MS), signal).then(() => {
    throwIfOver(options);
    return work;
  });
  try {
    return await Promise.race([work, bound]);
  } finally {
    over.abort();
    bound.catch(() => undefined);
  }
}

/** Longer than any call to the server, in milliseconds. */
const LONGEST_WAIT_MS = 600_000;

function canLag({ replicas, writeConsistency }: Copies): boolean {
  return replicas > 1 && writeConsistency < replicas;
}

function markerIds(lane: string, { shards }: Copies): string[] {
  const markers = shards === 1 ? 1 : MARKERS_PER_SHARD * shards;
  return Array.from({ length: markers }, (_, index) => bodyId('', `marker ${lane}`, index, 0));
}

/** How long to wait before another look at copies that lag, in milliseconds. */
const AGAIN_MS = 50;

function notFresh(message: string): StoreError {
  return new StoreError('STORE_NOT_FRESH', message, { retryDelayMs: AGAIN_MS });
}
