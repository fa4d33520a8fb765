import { status } from '@grpc/grpc-js';
import { shareOfPeer } from '../admission/shares.ts';
import { DEFAULT_RETRY_DELAY_MS, ServiceError } from '../errors.ts';
import type { Quotas } from './quotas.ts';
import { quotaExceeded, shareTaken, tenantDropped } from './refusals.ts';

/** Time for a stream that has a place to say whose it is, in milliseconds: after that another may have the place. */
export const BEGIN_MS = 5_000;
/**
 * How long a stream that never sent an operation may do nothing, in milliseconds, where all places are taken: a producer
 * opens one when it has something to send.
 */
export const UNUSED_MS = 2_000;
/** Streams past the most: those that have not said whose they are, and those that end to make room. */
export const SPARE_PLACES = 8;

/** A stream that has a place. */
export interface PlacedStream {
  /** Whose it is, and what it writes to; `undefined` before it has said so. */
  readonly target: { tenant: string; collection: string } | undefined;
  /** How long its client has done nothing, in milliseconds. */
  readonly idleMs: number;
  /** Whether it ever sent an operation. */
  readonly hasWorked: boolean;
  /** Ends at once, for having been idle. */
  evict(): void;
  /** Takes nothing more in, answers what it has, and ends. */
  yield(error: ServiceError): void;
  /** Ends at once. */
  supersede(error: ServiceError): void;
}

/**
 * The places of streams, which tenants share: where all are taken, a new stream gets that of the tenant that has most, if
 * that one has more than the new one's. Whose a new stream is, its first message says; until then it may have one of the
 * {@link SPARE_PLACES}.
 */
export class StreamPlaces<Stream extends PlacedStream> {
  readonly streams = new Set<Stream>();
  readonly #most: number;
  readonly #idleMs: number;
  readonly #quotas: Quotas;
  /** Those that end to make room. */
  readonly #leaving = new Set<Stream>();
  /** Those that have not said whose they are, while all places are taken. */
  readonly #undecided = new Set<Stream>();
  /** Tenants that are being dropped, each as often as it is. */
  readonly #closed: { tenant: string; collection: string | undefined }[] = [];
  readonly #ended = new Map<Stream, Promise<void>>();

  constructor(options: { most: number; idleMs: number; quotas: Quotas }) {
    this.#most = options.most;
    this.#idleMs = options.idleMs;
    this.#quotas = options.quotas;
  }

  /** Streams of a tenant, but for those that make room. */
  of(tenant: string): number {
    let streams = 0;
    for (const stream of this.#staying()) if (stream.target?.tenant === tenant) streams++;
    return streams;
  }

  /**
   * Why no stream is taken now, whoever's it is. A stream that was idle for long gives its place up, also where the peer has
   * its part: it has most of the places, so that the stream is likely its own, and silent ones would shut it out for good.
   *
   * @param ofPeer how many the same peer has open. @default nobody knows
   */
  refusal(ofPeer = 0): ServiceError | undefined {
    const most = shareOfPeer(this.#most);
    if (ofPeer >= most && !this.#evictIdle()) {
      return tooMany(`${ofPeer} ingest streams of this address are open, and ${most} is the most for one`);
    }
    if (this.streams.size < this.#most || this.#evictIdle()) return undefined;
    if (this.#spare > 0 && this.#mayBeTaken()) return undefined;
    return this.#tooMany();
  }

  /** Gives a stream its place while it runs. */
  async keep(stream: Stream, run: () => Promise<void>): Promise<void> {
    const isOver = this.streams.size >= this.#most;
    this.streams.add(stream);
    let hurry: NodeJS.Timeout | undefined;
    if (isOver) {
      this.#undecided.add(stream);
      hurry = setTimeout(() => {
        if (this.#undecided.has(stream)) stream.supersede(this.#tooMany());
      }, BEGIN_MS).unref();
    }
    const running = run();
    this.#ended.set(
      stream,
      running.catch(() => {}),
    );
    try {
      await running;
    } finally {
      clearTimeout(hurry);
      this.#forget(stream);
    }
  }

  /**
   * A stream has said whose it is.
   *
   * @throws {ServiceError} where there is no place for one more of its tenant
   */
  claim(stream: Stream, tenant: string): void {
    const { collection } = stream.target!;
    const isClosed = this.#closed.some(
      (each) => each.tenant === tenant && (each.collection ?? collection) === collection,
    );
    if (isClosed) throw tenantDropped();
    const own = this.of(tenant);
    const quota = this.#quotas.limit(tenant, 'ingestStreams');
    if (quota && own > quota.limit) {
      const fix = 'send more through each';
      throw quotaExceeded(tenant, 'ingestStreams', quota, { retryDelayMs: DEFAULT_RETRY_DELAY_MS, fix });
    }
    if (!this.#undecided.delete(stream)) return;
    if (this.#staying().length <= this.#most || this.#evictIdle()) return;
    const [most, streams] = this.#largest();
    const isFair =
      streams !== undefined &&
      most !== tenant &&
      streams.length / this.#quotas.weight(most!) > own / this.#quotas.weight(tenant);
    if (!isFair || this.#leaving.size >= SPARE_PLACES) throw this.#tooMany();
    const newest = streams.at(-1)!;
    this.#leaving.add(newest);
    newest.yield(shareTaken(streams.length, this.#most));
  }

  /** Ends the streams of a tenant, and refuses new ones until the result is called. */
  async close(tenant: string, collection: string | undefined): Promise<() => void> {
    const closed = { tenant, collection };
    this.#closed.push(closed);
    const own = [...this.streams].filter(
      ({ target }) => target?.tenant === tenant && (collection ?? target.collection) === target.collection,
    );
    for (const stream of own) stream.supersede(tenantDropped());
    await Promise.all(own.map((stream) => this.#ended.get(stream) ?? Promise.resolve()));
    return () => {
      const index = this.#closed.indexOf(closed);
      if (index >= 0) this.#closed.splice(index, 1);
    };
  }

  get #spare(): number {
    return SPARE_PLACES - this.#undecided.size - this.#leaving.size;
  }

  #staying(): Stream[] {
    return [...this.streams].filter((stream) => !this.#leaving.has(stream));
  }

  /** Whether a tenant has several: only then another one, or the same, could have one of them. */
  #mayBeTaken(): boolean {
    return (this.#largest()[1]?.length ?? 0) > 1;
  }

  /** The tenant that has most for its weight, with its streams, the newest last. */
  #largest(): [tenant: string | undefined, streams: Stream[] | undefined] {
    const byTenant = new Map<string, Stream[]>();
    for (const stream of this.#staying()) {
      const tenant = stream.target?.tenant;
      if (tenant === undefined) continue;
      const own = byTenant.get(tenant) ?? [];
      own.push(stream);
      byTenant.set(tenant, own);
    }
    let largest: [string | undefined, Stream[] | undefined] = [undefined, undefined];
    let most = 0;
    for (const [tenant, own] of byTenant) {
      const share = own.length / this.#quotas.weight(tenant);
      if (share > most) [most, largest] = [share, [tenant, own]];
    }
    return largest;
  }

  /** Ends the stream that is idle and has been so longest beyond what it may. */
  #evictIdle(): boolean {
    const unusedMs = Math.min(UNUSED_MS, this.#idleMs);
    const beyond = ({ idleMs, hasWorked }: Stream): number => idleMs - (hasWorked ? this.#idleMs : unusedMs);
    const [longest] = [...this.streams].sort((a, b) => beyond(b) - beyond(a));
    if (!longest || beyond(longest) < 0) return false;
    longest.evict();
    this.#forget(longest);
    return true;
  }

  #forget(stream: Stream): void {
    this.streams.delete(stream);
    this.#leaving.delete(stream);
    this.#undecided.delete(stream);
    this.#ended.delete(stream);
  }

  #tooMany(): ServiceError {
    return tooMany(`${this.#most} ingest streams are open, which is the most here`);
  }
}

function tooMany(why: string): ServiceError {
  return new ServiceError(
    status.RESOURCE_EXHAUSTED,
    'TOO_MANY_STREAMS',
    `${why}; send more through each, or come again`,
    { retryDelayMs: DEFAULT_RETRY_DELAY_MS },
  );
}
