import { randomUUID } from 'node:crypto';
import type { DocumentClient } from '../../../clients/index.ts';
import { HttpError } from '../http/errors.ts';
import type { IngestBody } from '../shared/wire.ts';
import { IngestRun } from './run.ts';

/** Files at the same time: each may keep 32 MiB above its watermark. */
export const MAX_RUNNING = 4;

/** How many ingests stay visible, running ones included. */
const MAX_KEPT = 20;

/** The ingests that run, and the last ones that ended. */
export class Ingests {
  readonly #documents: { address: string; client: DocumentClient };
  readonly #runs = new Map<string, IngestRun>();

  constructor(documents: { address: string; client: DocumentClient }) {
    this.#documents = documents;
  }

  /** @throws {HttpError} where too many are running */
  start(request: IngestBody): IngestRun {
    const running = [...this.#runs.values()].filter(({ state }) => state.state === 'running');
    if (running.length >= MAX_RUNNING) {
      throw new HttpError(
        429,
        'TOO_MANY_INGESTS',
        `${MAX_RUNNING} files are being ingested already; wait for one of them, or cancel it`,
      );
    }
    const run = new IngestRun(randomUUID(), request, this.#documents);
    this.#runs.set(run.id, run);
    for (const [id, old] of this.#runs) {
      if (this.#runs.size <= MAX_KEPT) break;
      if (old.state.state !== 'running') this.#runs.delete(id);
    }
    return run;
  }

  /** @throws {HttpError} where there is none */
  get(id: string): IngestRun {
    const run = this.#runs.get(id);
    if (run !== undefined) return run;
    throw new HttpError(404, 'INGEST_NOT_FOUND', 'there is no such ingest any more; drop the file again');
  }

  /** The newest first. */
  list(): IngestRun[] {
    return [...this.#runs.values()].reverse();
  }

  /** Cancels what is running, and waits until it has ended. */
  async close(): Promise<void> {
    for (const run of this.#runs.values()) run.cancel('the console was stopped');
    await Promise.all([...this.#runs.values()].map((run) => run.ended));
  }
}
