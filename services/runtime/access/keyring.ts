import { timingSafeEqual } from 'node:crypto';
import type { Logger } from 'pino';
import { readKey } from '../../../keys/key.ts';
import { deathOf, readKeyFile, type StoredKey } from '../../../keys/key-file.ts';
import { Patterns } from '../../../keys/patterns.ts';
import type { PeerSubject } from './access.ts';
import type { Caller } from './caller.ts';
import { credentialDead, credentialUnknown } from './refusals.ts';
import { WatchedFiles } from './watched-file.ts';

interface Entry {
  stored: StoredKey;
  /** Absent where a certificate is the credential. */
  hash: Buffer | undefined;
  caller: Caller;
}

/** What a file of keys has. */
interface Entries {
  byId: ReadonlyMap<string, Entry>;
  certificates: readonly Entry[];
}

/** The keys of a file. A key that is revoked there is refused within a second, on open streams as well. */
export class Keyring {
  readonly #file: WatchedFiles<Entries>;

  /** @throws {KeyFileError} where the file can't be used */
  constructor(path: string, log: Logger) {
    this.#file = new WatchedFiles(
      [path],
      () => {
        const entries = readKeyFile(path).map((stored) => this.#entryOf(stored));
        return {
          byId: new Map(entries.map((entry) => [entry.stored.id, entry])),
          certificates: entries.filter(({ stored }) => stored.certificate !== undefined),
        };
      },
      log,
    );
  }

  /** How many keys there are. */
  get size(): number {
    return this.#file.value.byId.size;
  }

  /** @throws {ServiceError} UNAUTHENTICATED */
  callerOf(credential: string): Caller {
    const key = readKey(credential);
    const entry = key && this.#file.value.byId.get(key.id);
    if (!key || !entry?.hash || !timingSafeEqual(entry.hash, key.hash)) throw credentialUnknown('the key');
    const death = entry.caller.death(Date.now());
    if (death !== undefined) throw credentialDead(entry.caller, death);
    return entry.caller;
  }

  /** The rights of a client certificate by its common name. @throws {ServiceError} where it has none any more */
  certificate({ commonName }: PeerSubject): Caller | undefined {
    const entries = this.#file.value.certificates.filter(({ stored }) => stored.certificate === commonName);
    const now = Date.now();
    const alive = entries.find(({ caller }) => caller.death(now) === undefined);
    if (alive) return alive.caller;
    const [dead] = entries;
    if (dead) throw credentialDead(dead.caller, dead.caller.death(now)!);
    return undefined;
  }

  close(): void {
    this.#file.close();
  }

  #entryOf(stored: StoredKey): Entry {
    return {
      stored,
      hash: stored.sha256 === undefined ? undefined : Buffer.from(stored.sha256, 'hex'),
      caller: {
        id: stored.certificate ?? stored.id,
        kind: stored.certificate === undefined ? 'key' : 'certificate',
        scopes: new Set(stored.scopes),
        tenants: new Patterns(stored.tenants),
        collections: new Patterns(stored.collections),
        // As the file has it then: it may have been revoked since the call began.
        death: (now) => {
          const current = this.#file.value.byId.get(stored.id)?.stored;
          return current && current.sha256 === stored.sha256 ? deathOf(current, now) : 'revoked';
        },
      },
    };
  }
}
