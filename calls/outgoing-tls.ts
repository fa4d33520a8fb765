import { readFileSync, statSync } from 'node:fs';
import type { buildConnector } from 'undici';

/** Files of an outgoing connection, all PEM. They are read again when they change. */
export interface TlsFiles {
  /** Authorities that the server's certificate may come from. @default those of Node.js */
  ca?: string | undefined;
  /** Our certificate and its chain; `key` goes with it. */
  cert?: string | undefined;
  /** Its private key. */
  key?: string | undefined;
}

/** What these files hold. */
export interface TlsTexts {
  ca?: Buffer;
  cert?: Buffer;
  key?: Buffer;
}

/** How often files are looked at, in milliseconds. */
const LOOK_EVERY_MS = 1_000;

/** A file can't be used; the message names the setting. */
export class TlsFileError extends Error {
  override readonly name = 'TlsFileError';
}

/**
 * What files of TLS hold, by their state of a second ago at most. What can't be read once it was leaves the texts as they
 * were: files are replaced one after the other.
 */
export class OutgoingTls {
  readonly #files: readonly (readonly [part: keyof TlsTexts, path: string])[];
  #texts: TlsTexts;
  #seen: string;
  #lookedAt = performance.now();
  /** Grows with each change. */
  version = 0;

  /**
   * @param name - of the settings, for the error: `the Qdrant setting`
   * @throws {TlsFileError} where a file can't be read, or one of certificate and key is missing
   */
  constructor(files: TlsFiles, name = 'TLS') {
    if ((files.cert === undefined) !== (files.key === undefined)) {
      throw new TlsFileError(`${name}: has one of certificate and key; name both files`);
    }
    this.#files = (['ca', 'cert', 'key'] as const).flatMap((part) => {
      const path = files[part];
      return path === undefined ? [] : [[part, path] as const];
    });
    this.#seen = this.#stamp();
    try {
      this.#texts = this.#read();
    } catch (error) {
      throw new TlsFileError(`${name}: ${(error as Error).message}`, { cause: error });
    }
  }

  get texts(): TlsTexts {
    this.look();
    return this.#texts;
  }

  /** Looks whether files have changed, once a second at most. */
  look(): void {
    const now = performance.now();
    if (this.#files.length === 0 || now - this.#lookedAt < LOOK_EVERY_MS) return;
    this.#lookedAt = now;
    const stamp = this.#stamp();
    if (stamp === this.#seen) return;
    try {
      this.#texts = this.#read();
      this.#seen = stamp;
      this.version++;
    } catch {
      // They are being replaced; the next look finds them whole.
    }
  }

  #read(): TlsTexts {
    return Object.fromEntries(this.#files.map(([part, path]) => [part, readFileSync(path)]));
  }

  #stamp(): string {
    return this.#files
      .map(([, path]) => {
        const found = statSync(path, { throwIfNoEntry: false });
        return found ? `${found.ino} ${found.size} ${found.mtimeMs}` : '';
      })
      .join('|');
  }
}

/**
 * Makes connections for undici that use the files as they are at that moment. Connections that are open stay.
 *
 * @param build - undici's own, which is not loaded before somebody connects
 * @param options - of each connection
 */
export function reloadingConnector(
  build: typeof buildConnector,
  tls: OutgoingTls,
  options: buildConnector.BuildOptions,
): buildConnector.connector {
  let version = tls.version;
  let connect = build({ ...options, ...tls.texts });
  return (target, callback) => {
    tls.look();
    if (tls.version !== version) {
      // A new one, for it remembers sessions that the old certificates have made.
      connect = build({ ...options, ...tls.texts });
      version = tls.version;
    }
    connect(target, callback);
  };
}
