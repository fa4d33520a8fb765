import { readFileSync, statSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
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

const PARTS = ['ca', 'cert', 'key'] as const;

/** What the settings of these files are called. */
export type TlsNames = Readonly<Partial<Record<keyof TlsFiles, string>>>;

/** How often files are looked at, in milliseconds. */
export const LOOK_EVERY_MS = 1_000;

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
   * @param names - of the settings, for errors
   * @throws {TlsFileError} where a file can't be used, or one of certificate and key is missing
   */
  constructor(files: TlsFiles, names: Required<TlsNames> = { ca: 'ca', cert: 'cert', key: 'key' }) {
    if ((files.cert === undefined) !== (files.key === undefined)) {
      const [has, lacks] = files.cert === undefined ? [names.key, names.cert] : [names.cert, names.key];
      throw new TlsFileError(`${has}: needs ${lacks}; name both files`);
    }
    this.#files = PARTS.flatMap((part) => {
      const path = files[part];
      return path === undefined ? [] : [[part, path] as const];
    });
    this.#seen = this.#stamp();
    const texts: TlsTexts = {};
    for (const [part, path] of this.#files) {
      try {
        texts[part] = readFileSync(path);
      } catch (error) {
        throw new TlsFileError(`${names[part]}: cannot read ${path}: ${(error as Error).message}`, {
          cause: error,
        });
      }
    }
    this.#texts = texts;
    if (texts.ca && !texts.ca.includes('-----BEGIN CERTIFICATE-----')) {
      throw new TlsFileError(`${names.ca}: ${files.ca} holds no certificate in PEM`);
    }
    try {
      // What is no certificate, or of another key, is told now and not by the first connection.
      createSecureContext(texts);
    } catch (error) {
      const used = this.#files.map(([part]) => names[part]).join(', ');
      throw new TlsFileError(`${used}: can't be used together: ${(error as Error).message}`, {
        cause: error,
      });
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
      const read = this.#files.map(([part, path]) => [part, readFileSync(path)] as const);
      this.#texts = Object.fromEntries(read);
      this.#seen = stamp;
      this.version++;
    } catch {
      // They are being replaced; the next look finds them whole.
    }
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
