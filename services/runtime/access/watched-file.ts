import { statSync } from 'node:fs';
import type { Logger } from 'pino';

/** How often a file is looked at, in milliseconds: what was revoked works no longer than this. */
export const LOOK_EVERY_MS = 1_000;

/** What files hold, read again when one of them changes, without a restart. */
export class WatchedFiles<Value> {
  readonly paths: readonly string[];
  #value: Value;
  #seen: string;
  readonly #timer: NodeJS.Timeout;

  /**
   * @param read - throws where the files can't be used. What was read before then stays in force, and the log says so
   * @param changed - called with what was read anew
   * @throws what `read` throws, the first time
   */
  constructor(
    paths: readonly string[],
    read: () => Value,
    log: Logger,
    changed: (value: Value) => void = () => {},
  ) {
    this.paths = paths;
    this.#seen = this.#stamp();
    this.#value = read();
    this.#timer = setInterval(() => {
      const stamp = this.#stamp();
      if (stamp === this.#seen) return;
      this.#seen = stamp;
      try {
        this.#value = read();
        changed(this.#value);
        log.info({ files: paths }, 'read again, because they changed');
      } catch (error) {
        log.error({ files: paths }, `what was read before stays in force: ${(error as Error).message}`);
      }
    }, LOOK_EVERY_MS).unref();
  }

  get value(): Value {
    return this.#value;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** Kubernetes replaces mounted files through links: the file behind the name counts, so `stat` follows them. */
  #stamp(): string {
    return this.paths
      .map((path) => {
        const found = statSync(path, { bigint: true, throwIfNoEntry: false });
        return found ? `${found.ino} ${found.size} ${found.mtimeNs} ${found.mode}` : '';
      })
      .join('|');
  }
}
