import { createWriteStream } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { diskError, requireRoom } from './disk.ts';
import { TowerError } from './errors.ts';
import { hashFile, type Integrity } from './hash.ts';
import type { Http, SourceRequest } from './http.ts';
import type { DownloadProgress } from './options.ts';

/** Shortest time between two reports of progress, in milliseconds. */
const PROGRESS_INTERVAL_MS = 100;

/** If a connection brought at least this much before it broke, another one is tried for the rest. */
const WORTHWHILE_BYTES = 1 << 20;

/** A file to fetch. */
export interface Download extends SourceRequest {
  /** Where it goes. A part that is there already is continued. */
  path: string;
  /** What to call it in progress. */
  name: string;
  /** Undefined where the source does not say. */
  integrity: Integrity | undefined;
  onProgress: ((progress: DownloadProgress) => void) | undefined;
}

/**
 * Fetches a file, going on where an earlier try ended (HTTP range requests, RFC 9110 section 14), and checks it.
 *
 * @throws {TowerError} `TOWER_NOT_FOUND`, `TOWER_SOURCE_UNREACHABLE`, `TOWER_INTEGRITY`, `DISK_FULL`
 */
export async function download(http: Http, wanted: Download): Promise<void> {
  const { path, integrity } = wanted;
  const continued = (await sizeOf(path)) > 0;
  try {
    await receiveAll(http, wanted);
    if (integrity === undefined || (await hashFile(path, integrity.algorithm)) === integrity.digest) return;
    await rm(path);
    // The earlier part may be of another file, or have been cut by a power failure: the whole of it is tried once.
    if (continued) {
      await receiveAll(http, wanted);
      if ((await hashFile(path, integrity.algorithm)) === integrity.digest) return;
      await rm(path);
    }
  } catch (error) {
    throw diskError(error, dirname(path));
  }
  throw new TowerError(
    'TOWER_INTEGRITY',
    `${wanted.url} is not the expected file: its ${integrity.algorithm} is not ${integrity.digest}`,
    { metadata: { url: wanted.url } },
  );
}

/** Reconnects after a broken connection as long as each connection makes progress. */
async function receiveAll(http: Http, wanted: Download): Promise<void> {
  for (;;) {
    const before = await sizeOf(wanted.path);
    try {
      return await receive(http, wanted);
    } catch (error) {
      const unreachable = error instanceof TowerError && error.reason === 'TOWER_SOURCE_UNREACHABLE';
      if (!unreachable || (await sizeOf(wanted.path)) < before + WORTHWHILE_BYTES) throw error;
    }
  }
}

async function receive(http: Http, wanted: Download): Promise<void> {
  const { path } = wanted;
  const request = async (): Promise<SourceRequest> => {
    const have = await sizeOf(path);
    // Compressed on its way, the bytes would not be those of the file.
    const headers = { ...wanted.headers, 'accept-encoding': 'identity' };
    return { ...wanted, headers: have === 0 ? headers : { ...headers, range: `bytes=${have}-` } };
  };
  await http.get(
    request,
    async (response) => {
      if (response.status === 416) {
        // Nothing is left to send: what is there is whole, or its hash will tell.
        await response.body?.cancel();
        return;
      }
      const start = response.status === 206 ? await sizeOf(path) : 0;
      const length = response.headers.get('content-length');
      const left = length === null ? undefined : Number(length);
      if (left !== undefined) await requireRoom(dirname(path), left);
      const file = createWriteStream(path, { flags: start === 0 ? 'w' : 'a' });
      const total = left === undefined ? undefined : start + left;
      const body = response.body === null ? Readable.from([]) : Readable.fromWeb(response.body);
      await pipeline(body, withProgress(wanted, start, total), file);
    },
    [416],
  );
}

function withProgress(
  { name, onProgress }: Download,
  start: number,
  totalBytes: number | undefined,
): (body: AsyncIterable<Buffer>) => AsyncGenerator<Buffer, void, undefined> {
  return async function* (body) {
    let receivedBytes = start;
    let toldAt = 0;
    for await (const chunk of body) {
      yield chunk;
      receivedBytes += chunk.length;
      const now = performance.now();
      if (now - toldAt < PROGRESS_INTERVAL_MS) continue;
      toldAt = now;
      onProgress?.({ file: name, receivedBytes, totalBytes });
    }
    onProgress?.({ file: name, receivedBytes, totalBytes });
  };
}

async function sizeOf(path: string): Promise<number> {
  return (await stat(path).catch(() => undefined))?.size ?? 0;
}
