import type { Logger } from 'pino';
import { spaceMismatch } from '../../store/errors.ts';
import type { SearchQuery } from '../../store/queries.ts';
import type { Store } from '../../store/store.ts';
import type { Tower } from '../../towers/tower.ts';
import type { Metrics } from '../runtime/telemetry/metrics.ts';
import { normalizeQuery } from './encoder.ts';

/** How many of the best documents are compared. */
export const OVERLAP_DEPTH = 10;

/**
 * Shortest time from one comparison to the next, in milliseconds: a teacher takes some ten milliseconds of a core for a
 * query, so that this is a few percent of one core at most, whatever the share and the load are.
 */
export const MIN_INTERVAL_MS = 500;

/** Longest time for a comparison; no caller waits for it. */
const TIMEOUT_MS = 10_000;

/** What a comparison needs of a teacher. */
export type Teacher = Pick<Tower, 'manifest' | 'tokenize' | 'encode'>;

/** A search that was answered. */
export interface Answered {
  text: string;
  /** Physical name. */
  collection: string;
  /** As the store was asked, with the student's vector. */
  query: SearchQuery;
}

/**
 * Encodes a share of the live queries with the teacher too, after they were answered. Measures the cosine of the
 * student's vector to the teacher's, and how many of the teacher's ten best documents the student finds. What people ask
 * for changes over time, and without this nobody would notice that the student gets worse.
 */
export class LiveQuality {
  readonly #store: Pick<Store, 'search'>;
  readonly #metrics: Metrics;
  readonly #log: Logger;
  readonly #share: number;
  readonly #attributes: { 'scalingnote.tower': string };
  readonly #random: () => number;
  #teacher: Teacher | undefined;
  #busy = false;
  #nextAt = 0;

  /**
   * @param teacher opened while the service serves already; without it there is nothing to compare with
   * @param options.share of the queries that are compared, 0 to 1
   */
  constructor(
    student: Pick<Tower, 'manifest'>,
    teacher: Promise<Teacher>,
    options: {
      store: Pick<Store, 'search'>;
      metrics: Metrics;
      log: Logger;
      share: number;
      random?: () => number;
    },
  ) {
    this.#store = options.store;
    this.#metrics = options.metrics;
    this.#log = options.log;
    this.#share = options.share;
    this.#random = options.random ?? Math.random;
    this.#attributes = { 'scalingnote.tower': student.manifest.name };
    teacher
      .then((opened) => {
        const { name, space } = opened.manifest;
        const { fingerprint } = student.manifest.space;
        if (space.fingerprint !== fingerprint) throw spaceMismatch(name, space.fingerprint, fingerprint);
        this.#teacher = opened;
      })
      .catch((error: unknown) => {
        options.log.warn(
          { err: error },
          'live queries are not compared: the teacher cannot be used; --live-tower names one',
        );
      });
  }

  /** Compares a search in the background, or skips it. Never throws. */
  offer(answered: Answered): void {
    if (this.#random() >= this.#share || !answered.query.vector) return;
    const teacher = this.#teacher;
    if (!teacher || this.#busy || performance.now() < this.#nextAt) {
      this.#count('skipped');
      return;
    }
    this.#busy = true;
    this.#compare(teacher, answered)
      .then(
        () => this.#count('compared'),
        (error: unknown) => {
          this.#count('failed');
          this.#log.debug({ err: error }, 'a live query could not be compared');
        },
      )
      .finally(() => {
        this.#busy = false;
        this.#nextAt = performance.now() + MIN_INTERVAL_MS;
      });
  }

  /** What the teacher makes of a query; `undefined` while none is loaded. */
  async teach(
    text: string,
    signal: AbortSignal,
  ): Promise<{ name: string; vector: Float32Array } | undefined> {
    const teacher = this.#teacher;
    return teacher && { name: teacher.manifest.name, vector: await vectorOf(teacher, text, signal) };
  }

  async #compare(teacher: Teacher, { text, collection, query }: Answered): Promise<void> {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const vector = await vectorOf(teacher, text, signal);
    this.#metrics.liveCosine(this.#attributes).record(cosine(query.vector!, vector));
    const { tenant, filter } = query;
    const best = async (vector: Float32Array): Promise<string[]> => {
      const asked = { tenant, filter, vector, limit: OVERLAP_DEPTH, withText: false, withMetadata: false };
      const hits = await this.#store.search(collection, asked, { signal });
      return hits.map(({ documentId }) => documentId);
    };
    const wanted = await best(vector);
    if (wanted.length === 0) return;
    const found = new Set(await best(query.vector!));
    const shared = wanted.filter((id) => found.has(id)).length;
    this.#metrics.liveOverlap(this.#attributes).record(shared / wanted.length);
  }

  #count(result: 'compared' | 'skipped' | 'failed'): void {
    this.#metrics.liveSamples({ 'scalingnote.result': result }).add(1);
  }
}

async function vectorOf(teacher: Teacher, text: string, signal: AbortSignal): Promise<Float32Array> {
  const { role, queryPrompt } = teacher.manifest;
  const prompt = role === 'document' && queryPrompt !== undefined ? { prompt: queryPrompt } : {};
  const tokens = await teacher.tokenize(normalizeQuery(text), prompt);
  return (await teacher.encode(tokens, { signal })).vector;
}

function cosine(a: Float32Array, b: Float32Array): number {
  let dot = 0;
  let squaresA = 0;
  let squaresB = 0;
  for (let index = 0; index < a.length; index++) {
    dot += a[index]! * b[index]!;
    squaresA += a[index]! ** 2;
    squaresB += b[index]! ** 2;
  }
  return dot / Math.sqrt(squaresA * squaresB);
}
