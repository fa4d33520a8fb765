import { LookupError } from '../../towers/lookup/errors.ts';
import { Sha256 } from '../../towers/lookup/sha256.ts';
import { LookupTower, MANIFEST, MODEL, parseManifest, TOKENIZER } from '../../towers/lookup/tower.ts';

/** Name of the cache that holds files by their hash. */
const CACHE = 'scalingnote-towers';

/** Largest file that is taken: what is larger is no lookup for a page. */
const MAX_BYTES = 16 * 1024 * 1024;

/**
 * Fetches a lookup tower and keeps its files in the browser's cache, by their hashes: what has another hash is refused,
 * wherever it came from.
 *
 * @param folder - address of the tower's folder, for example `https://search.example.org/tower/`
 * @param space - fingerprint of the space that its vectors must belong to
 * @throws {LookupError} for another space, a file that is not what the manifest says, a tower that can't run here
 */
export async function loadTower(
  folder: string,
  { space, signal }: { space: string; signal?: AbortSignal },
): Promise<LookupTower> {
  const base = folder.endsWith('/') ? folder : `${folder}/`;
  const bounds = signal === undefined ? {} : { signal };
  const manifest = parseManifest(new TextDecoder().decode((await download(base + MANIFEST, bounds)).bytes));
  if (manifest.fingerprint !== space) {
    throw new LookupError(`${manifest.name} is of space ${manifest.fingerprint}, not of ${space}`);
  }
  const file = async (name: string): Promise<Uint8Array<ArrayBuffer>> => {
    const hash = manifest.files.get(name);
    if (hash === undefined) throw new LookupError(`${MANIFEST} has no hash for ${name}`);
    // Pages that came over plain HTTP from another machine have no cache.
    const { caches } = globalThis as unknown as { caches?: Caches };
    const cache = await caches?.open(CACHE);
    const key = `https://scalingnote.invalid/${hash}`;
    const kept = await cache?.match(key);
    if (kept !== undefined) {
      const found = await collect(kept, name);
      if (found.hash === hash) return found.bytes;
      await cache!.delete(key);
    }
    const found = await download(base + name, bounds);
    if (found.hash !== hash)
      throw new LookupError(`${base}${name} has hash ${found.hash}; ${MANIFEST} says ${hash}`);
    // A full disk is no reason not to search.
    await cache?.put(key, new Response(found.bytes)).catch(() => undefined);
    return found.bytes;
  };
  const [tokenizer, model] = await Promise.all([file(TOKENIZER), file(MODEL)]);
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

async function download(url: string, bounds: { signal?: AbortSignal }): Promise<Collected> {
  const response = await fetch(url, bounds);
  if (!response.ok) throw new LookupError(`${url} answers ${response.status}`);
  return collect(response, url);
}

/** Reads a body as it comes, hashing it on the way. */
async function collect(response: Response, name: string): Promise<Collected> {
  const parts: Uint8Array[] = [];
  const hash = new Sha256();
  let length = 0;
  const reader = response.body!.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > MAX_BYTES) {
      await reader.cancel();
      throw new LookupError(`${name} is larger than ${MAX_BYTES} bytes`);
    }
    hash.update(value);
    parts.push(value);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return { bytes, hash: hash.hex() };
}
