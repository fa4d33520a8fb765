import { status } from '@grpc/grpc-js';
import { invalidArgument, ServiceError } from '../../runtime/errors.ts';

/** Longest run id in bytes: a UUID has 36. */
const MAX_RUN_ID_BYTES = 64;

/**
 * Most runs that are remembered without a stream: a begin may stay on the way for a while after the stream that came after
 * it has ended.
 */
const RUNS_REMEMBERED = 1024;

/** A stream that can be ended by a later one of its run. */
export interface RunStream {
  /** Gives up what is not written. */
  supersede(error: ServiceError): void;
}

/**
 * The runs of clients. A client that has lost its connection opens another stream and sends again what no watermark covered.
 * The service may not have noticed that the first connection is gone: the first stream must not write behind the second
 * one, because without growing versions the later write wins.
 */
export class Runs {
  /** By target and run id; the one that began last is last. */
  readonly #latest = new Map<string, { attempt: number; stream: RunStream | undefined }>();

  /**
   * A stream of a run begins. An earlier stream of it is ended.
   *
   * @param target what the stream writes to: runs of different targets have nothing to do with each other
   * @param attempt counts the streams of a run, from 1
   * @returns ends the stream's part of the run
   * @throws {ServiceError} `STREAM_SUPERSEDED` where a later stream of the run has begun already
   */
  begin(target: string, runId: string, attempt: number, stream: RunStream): () => void {
    if (Buffer.byteLength(runId) > MAX_RUN_ID_BYTES) {
      throw invalidArgument('begin.run_id', `is longer than ${MAX_RUN_ID_BYTES} bytes; send a UUID`);
    }
    if ((runId === '') !== (attempt === 0)) {
      throw invalidArgument('begin.attempt', 'and run_id go together: send both, attempt from 1, or neither');
    }
    if (runId === '') return () => {};
    const key = JSON.stringify([target, runId]);
    const latest = this.#latest.get(key);
    if (latest && latest.attempt >= attempt) throw superseded(attempt, latest.attempt);
    latest?.stream?.supersede(superseded(latest.attempt, attempt));
    this.#latest.delete(key);
    const entry: { attempt: number; stream: RunStream | undefined } = { attempt, stream };
    this.#latest.set(key, entry);
    this.#forget();
    return () => (entry.stream = undefined);
  }

  /** Forgets the oldest runs without a stream where there are many. */
  #forget(): void {
    if (this.#latest.size <= 2 * RUNS_REMEMBERED) return;
    const ended = [...this.#latest].filter(([, { stream }]) => stream === undefined);
    for (const [key] of ended.slice(0, -RUNS_REMEMBERED)) this.#latest.delete(key);
  }
}

function superseded(attempt: number, later: number): ServiceError {
  return new ServiceError(
    status.ABORTED,
    'STREAM_SUPERSEDED',
    `this is stream ${attempt} of its run, and stream ${later} has begun; give each run an id of its own`,
  );
}
