import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { open, readFile, stat } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { MANIFEST_FILE } from '../../towers/directory.ts';
import type { Tower } from '../../towers/tower.ts';
import { overloaded } from '../runtime/errors.ts';
import { HttpError, type Exchange } from '../runtime/listener/exchange.ts';
import type { AddRoutes } from '../runtime/listener/routes.ts';
import { StartError } from '../runtime/start-error.ts';

/** Where the files are: below it, the fingerprint of the space and the name of a file. */
const FOLDER = '/v1/tower/';

/** What of a file is in memory while it is sent. */
export const CHUNK_BYTES = 64 * 1024;

/**
 * Most files that are sent at a time. Each takes a chunk here and one on its way to the socket, so that all together take
 * 16 MiB, however slowly they are read.
 */
export const MAX_TRANSFERS = 128;

/** A reader that takes nothing for so long has gone. */
const STALL_MS = 30_000;

/** A reader of less than 16 MiB in ten minutes takes a place that others want. */
const TRANSFER_MS = 600_000;

/** What a reader is told to wait that comes while there are too many. */
const BUSY_DELAY_MS = 2_000;

/** Of what is at an address that has its content's hash in it. */
const FOR_GOOD = 'max-age=31536000, immutable';

/** A file of the tower. */
interface TowerFile {
  path: string;
  type: string;
  sha256: string;
  bytes: number;
}

/** Shorter limits, for tests. */
export interface TransferLimits {
  transfers?: number;
  stallMs?: number;
}

/**
 * Serves the files of a lookup tower, so that pages can encode queries: those that its manifest names and the manifest
 * itself, by exact names. An address with `?sha256=HASH` stands for that content alone, and may be kept for good.
 *
 * @throws {StartError} for a tower that no page can run
 */
export async function towerFiles(
  { manifest, directory }: Pick<Tower, 'manifest' | 'directory'>,
  { transfers = MAX_TRANSFERS, stallMs = STALL_MS }: TransferLimits = {},
): Promise<AddRoutes> {
  const { name, lookup, space } = manifest;
  if (lookup === undefined) {
    throw new StartError(
      `${name} has no stages, so that no page can run it; leave serveTower out, or name a lookup as queryTower`,
    );
  }
  const files = new Map<string, TowerFile>();
  for (const [file, sha256] of [[MANIFEST_FILE, ''], ...Object.entries(manifest.files)] as const) {
    const path = join(directory, file);
    const { size: bytes } = await stat(path);
    const hash =
      sha256 ||
      createHash('sha256')
        .update(await readFile(path))
        .digest('hex');
    const type = file.endsWith('.json') ? 'application/json' : 'application/octet-stream';
    files.set(file, { path, type, sha256: hash, bytes });
  }
  let running = 0;
  return (routes) =>
    routes.add(`${FOLDER}*`, {
      verbs: ['GET', 'HEAD'],
      takesQuery: true,
      serve: async (exchange) => {
        const file = fileOf(exchange, space.fingerprint, files);
        if (answerHead(exchange, file)) return;
        if (running >= transfers) {
          exchange.response.removeHeader('cache-control');
          throw overloaded('too many files are being sent; ask again', BUSY_DELAY_MS);
        }
        running++;
        try {
          await send(exchange.response, file, stallMs);
        } finally {
          running--;
        }
      },
    });
}

function fileOf(
  { path, query }: Exchange,
  fingerprint: string,
  files: ReadonlyMap<string, TowerFile>,
): TowerFile {
  const notFound = (why: string): HttpError => new HttpError(404, status.NOT_FOUND, why);
  const [space = '', name = '', ...more] = path.slice(FOLDER.length).split('/');
  if (space !== fingerprint) {
    throw notFound(`this service has the tower of space ${fingerprint}, not of ${space.slice(0, 64)}`);
  }
  const file = more.length === 0 ? files.get(name) : undefined;
  if (file === undefined) {
    const known = [...files.keys()].join(', ');
    throw notFound(`the tower has no file ${[name, ...more].join('/').slice(0, 100)}; it has ${known}`);
  }
  if (query === undefined) return file;
  const hash = /^sha256=([0-9a-f]{64})$/.exec(query)?.[1];
  if (hash === undefined) {
    throw new HttpError(
      400,
      status.INVALID_ARGUMENT,
      'what stands after "?" can only be sha256=, and 64 hex digits',
    );
  }
  if (hash !== file.sha256) {
    throw notFound(`${name} has hash ${file.sha256} now; read ${MANIFEST_FILE} again`);
  }
  return file;
}

/** Sets the headers. @returns whether they are the whole answer */
function answerHead({ request, response, query, headers }: Exchange, file: TowerFile): boolean {
  const etag = `"${file.sha256}"`;
  response.setHeader('etag', etag);
  response.setHeader('cache-control', query === undefined ? 'no-cache' : FOR_GOOD);
  response.setHeader('x-content-type-options', 'nosniff');
  const known = (headers['if-none-match'] ?? '').split(',').map((tag) => tag.trim().replace(/^W\//, ''));
  if (known.some((tag) => tag === etag || tag === '*')) {
    response.writeHead(304).end();
    return true;
  }
  response.setHeader('content-type', file.type);
  response.setHeader('content-length', file.bytes);
  if (request.method !== 'HEAD') return false;
  response.writeHead(200).end();
  return true;
}

/** Sends a file as its reader takes it. Where that is too slow, or the file is not what it was, the answer breaks off. */
async function send(response: ServerResponse, file: TowerFile, stallMs: number): Promise<void> {
  const handle = await open(file.path);
  const ends = AbortSignal.timeout(TRANSFER_MS);
  try {
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    for (let at = 0; at < file.bytes && !response.destroyed;) {
      const { bytesRead } = await handle.read(chunk, 0, Math.min(CHUNK_BYTES, file.bytes - at), at);
      if (bytesRead === 0) throw new Error(`${file.path} is shorter than it was`);
      at += bytesRead;
      // The buffer is ours again only when the socket has its bytes.
      const isTaken = new Promise<void>((resolve, reject) => {
        response.write(chunk.subarray(0, bytesRead), (error) => (error ? reject(error) : resolve()));
      });
      await settled(isTaken, response, AbortSignal.any([ends, AbortSignal.timeout(stallMs)]));
    }
    if (!response.destroyed) response.end();
  } catch {
    response.destroy();
  } finally {
    await handle.close();
  }
}

/** Waits for a promise, for the end of the connection, or until there is no time left. */
async function settled(promise: Promise<void>, response: ServerResponse, signal: AbortSignal): Promise<void> {
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const closed = once(response, 'close', { signal: either });
  closed.catch(() => {});
  try {
    await Promise.race([promise, closed]);
  } finally {
    promise.catch(() => {});
    stop.abort();
  }
}
