import { LookupError } from '../../towers/lookup/errors.ts';
import { Sha256 } from '../../towers/lookup/sha256.ts';
import { LookupTower, MANIFEST, MODEL, parseManifest, TOKENIZER } from '../../towers/lookup/tower.ts';
import { serviceAddress } from './client.ts';
import { authorizing, type Credential } from './credential.ts';
import { invalidArgument } from './errors.ts';
import { described, entriesOf } from './request.ts';

/** Name of the cache that holds files by their hash. */
const CACHE = 'scalingnote-towers';

/** Most bytes of a tower's files together: what is larger is no lookup for a page. */
export const MAX_TOWER_BYTES = 16 * 1024 * 1024;

/** How far the files of a tower are. */
export interface TowerProgress {
  /** The file that bytes came of. */
  file: string;
  loadedBytes: number;
  /** Undefined where the server does not say. */
  totalBytes: number | undefined;
}

/** How a tower is loaded. */
export interface LoadTowerOptions {
  /** Fingerprint of the space that its vectors must belong to. */
  space: string;
  /**
   * What the address is: that of a query service, which has the files under `/v1/tower/SPACE/` where its setting
   * `serveTower` allows it, or that of a folder that has them. @default 'service'
   */
  at?: 'service' | 'folder';
  /** For the service, or for what has the folder. @default none */
  credential?: Credential;
  signal?: AbortSignal;
  /** Called as the bytes of a file come; not for those that are in the browser's cache. */
  onProgress?: (progress: TowerProgress) => void;
}

/**
 * Fetches a lookup tower and keeps its files in the browser's cache, by their hashes: what has another hash is refused,
 * wherever it came from.
 *
 * @param address - for example `https://search.example.org`
 * @throws {WebError} for an argument that can't be followed
 * @throws {LookupError} for another space, a file that is not what the manifest says, a tower that can't run here
 */
export async function loadTower(address: string, options: LoadTowerOptions): Promise<LookupTower> {
  entriesOf(options, '', ['space', 'at', 'credential', 'signal', 'onProgress'], 'option');
  const { space, at = 'service', credential } = options;
  if (typeof space !== 'string' || !/^sp1_[0-9a-z]+$/.test(space)) {
    throw invalidArgument('space', `is ${described(space)}; give the fingerprint of the space, sp1_...`);
  }
  if (at !== 'service' && at !== 'folder') {
    throw invalidArgument('at', `is ${described(at)}; give service or folder`);
  }
  const base = serviceAddress(address, 'address');
  // Where one file fails, the others need not come.
  const failed = new AbortController();
  const signal = AbortSignal.any([failed.signal, ...(options.signal ? [options.signal] : [])]);
  const folder = `${base}/${at === 'service' ? `v1/tower/${space}/` : ''}`;
  const source = new TowerSource(folder, { ...options, signal }, authorizing(credential, base));
  const manifest = parseManifest(new TextDecoder().decode(await source.manifest()));
  if (manifest.fingerprint !== space) {
    throw new LookupError(`${manifest.name} is of space ${manifest.fingerprint}, not of ${space}`);
  }
  const file = async (name: string): Promise<Uint8Array<ArrayBuffer>> => {
    const hash = manifest.files.get(name);
    if (hash === undefined) throw new LookupError(`${MANIFEST} has no hash for ${name}`);
    return source.file(name, hash);
  };
  const [tokenizer, model] = await Promise.all([file(TOKENIZER), file(MODEL)]).catch((error: unknown) => {
    failed.abort(error);
    throw error;
  });
  return new LookupTower(manifest, { tokenizer: new TextDecoder().decode(tokenizer), model });
}

/** What is used of the browser's caches. */
interface Caches {
  open(name: string): Promise<{
    match(key: string): Promise<Response | undefined>;
    put(key: string, response: Response): Promise<void>;
    delete(key: string): Promise<boolean>;
  }>;
}

interface Collected {
  bytes: Uint8Array<ArrayBuffer>;
  hash: string;
}

/** Where the files of a tower are. */
class TowerSource {
  readonly #folder: string;
  readonly #options: LoadTowerOptions;
  readonly #authorization: () => Promise<Record<string, string>>;
  #bytesLeft = MAX_TOWER_BYTES;

  constructor(
    folder: string,
    options: LoadTowerOptions,
    authorization: () => Promise<Record<string, string>>,
  ) {
    this.#folder = folder;
    this.#options = options;
    this.#authorization = authorization;
  }

  /** It has no hash, and may change: it is fetched each time. */
  async manifest(): Promise<Uint8Array> {
    return (await this.#fetch(MANIFEST, '')).bytes;
  }

  async file(name: string, hash: string): Promise<Uint8Array<ArrayBuffer>> {
    // Pages that came over plain HTTP from another machine have no cache, and some browsers refuse it in private windows.
    const { caches } = globalThis as unknown as { caches?: Caches };
    const cache = await caches?.open(CACHE).catch(() => undefined);
    const key = `https://scalingnote.invalid/${hash}`;
    const kept = await cache?.match(key);
    if (kept !== undefined) {
      const found = await this.#collect(kept, name, false);
      if (found.hash === hash) return found.bytes;
      this.#bytesLeft += found.bytes.length;
      await cache!.delete(key);
    }
    // The hash makes it an address of its own for each content, which may be kept for good.
    const found = await this.#fetch(name, `?sha256=${hash}`);
    if (found.hash !== hash) {
      throw new LookupError(`${this.#folder}${name} has hash ${found.hash}; ${MANIFEST} says ${hash}`);
    }
    // A full disk is no reason not to search.
    await cache?.put(key, new Response(found.bytes)).catch(() => undefined);
    return found.bytes;
  }

  async #fetch(name: string, query: string): Promise<Collected> {
    const { signal } = this.#options;
    const url = `${this.#folder}${name}`;
    let response: Response;
    const headers = await this.#authorization();
    try {
      response = await fetch(url + query, { headers, ...(signal === undefined ? {} : { signal }) });
    } catch (error) {
      signal?.throwIfAborted();
      const message = `${url} can't be reached, or does not admit this origin: ${String(error)}`;
      throw new LookupError(message, { cause: error });
    }
    if (!response.ok) {
      const why = (await response.json().catch(() => ({}))) as { message?: unknown };
      const more = typeof why.message === 'string' ? `: ${why.message}` : '';
      throw new LookupError(`${url} answers ${response.status}${more}`);
    }
    return this.#collect(response, name, true);
  }

  /** Reads a body as it comes, hashing it on the way. */
  async #collect(response: Response, name: string, isNew: boolean): Promise<Collected> {
    const parts: Uint8Array[] = [];
    const hash = new Sha256();
    let length = 0;
    const stated = response.headers.get('content-length');
    const isWhole = stated !== null && !response.headers.has('content-encoding');
    const totalBytes = isWhole ? Number(stated) : undefined;
    const reader = response.body!.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      length += value.length;
      this.#bytesLeft -= value.length;
      if (this.#bytesLeft < 0) {
        await reader.cancel();
        const fix = 'distil a lookup with a smaller width or fewer pairs';
        throw new LookupError(`the tower has more than ${MAX_TOWER_BYTES} bytes; ${fix}`);
      }
      hash.update(value);
      parts.push(value);
      if (isNew) this.#options.onProgress?.({ file: name, loadedBytes: length, totalBytes });
    }
    const bytes = new Uint8Array(length);
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return { bytes, hash: hash.hex() };
  }
}
