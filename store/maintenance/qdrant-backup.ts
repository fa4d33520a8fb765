import { randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream, existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Agent, buildConnector, type Dispatcher, request } from 'undici';
import { reloadingConnector } from '../../calls/outgoing-tls.ts';
import { collectionNotFound, StoreError } from '../errors.ts';
import { newIdentity } from '../names.ts';
import { qdrantIdentity, type QdrantConfig } from '../qdrant/config.ts';
import { readOnly } from '../qdrant/adopted/record.ts';
import { QdrantStore } from '../qdrant/qdrant-store.ts';
import {
  type BackupCollection,
  type BackupManifest,
  checkBackupSpace,
  damaged,
  describeFile,
  readManifest,
  verifyFile,
  writeManifest,
} from './manifest.ts';

/** Where Qdrant is: one address. */
export type QdrantPlace = Pick<
  QdrantConfig,
  'url' | 'apiKey' | 'apiKeyFile' | 'ca' | 'clientCert' | 'clientKey'
>;

/**
 * Backs up collections of a Qdrant server into a new folder, by its own snapshots: each is of one moment, whatever is
 * written meanwhile.
 *
 * @param collection one of them, by its alias or its physical name; `undefined` for all of ours
 * @throws {StoreError} `STORE_UNSUPPORTED` for a cluster, whose snapshots have the shards of one node alone
 */
export async function backupQdrant(
  place: QdrantPlace,
  to: string,
  collection: string | undefined,
): Promise<BackupManifest> {
  if (existsSync(to)) {
    throw new StoreError('STORE_INVALID_ARGUMENT', `${to} is there already; name a folder that is not`);
  }
  await using server = new Server(place);
  await server.requireSingleNode();
  const collections = await collectionsOf(place, collection);
  const draft = `${to}.${process.pid}.part`;
  await mkdir(draft, { recursive: true });
  try {
    const files = [];
    for (const { physicalName } of collections) {
      await server.download(physicalName, join(draft, fileOf(physicalName)));
      files.push(await describeFile(draft, fileOf(physicalName)));
    }
    const manifest = await writeManifest(draft, { kind: 'qdrant', collections, files });
    await rename(draft, to);
    return manifest;
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    throw error;
  }
}

/**
 * Puts the collections of a backup into a Qdrant server, each with a new identity, and points their aliases at them.
 *
 * @param fingerprint the only space that they may have
 * @throws {StoreError} `BACKUP_DAMAGED`, `SPACE_MISMATCH`; `STORE_INVALID_ARGUMENT` where a collection is there already
 */
export async function restoreQdrant(
  place: QdrantPlace,
  { from, fingerprint }: { from: string; fingerprint?: string | undefined },
): Promise<{ collections: BackupCollection[] }> {
  const manifest = await readManifest(from);
  if (manifest.kind !== 'qdrant') {
    throw new StoreError('STORE_INVALID_ARGUMENT', `${from} is a backup of an ${manifest.kind} store`);
  }
  checkBackupSpace(manifest, fingerprint);
  await using server = new Server(place);
  await server.requireSingleNode();
  await refuseExisting(server, manifest);
  for (const file of manifest.files) await verifyFile(file, join(from, file.path));
  const restored: BackupCollection[] = [];
  for (const collection of manifest.collections) {
    const { physicalName } = collection;
    const file = manifest.files.find(({ path }) => path === fileOf(physicalName));
    if (!file) throw damaged(`collection "${physicalName}" has no file in the backup`);
    const identity = newIdentity();
    try {
      await server.upload(physicalName, join(from, file.path), file);
      await server.identify(physicalName, identity);
    } catch (error) {
      // Half restored it would have its old identity, and progress made since would seem to fit.
      await server.drop(physicalName).catch(() => {});
      throw error;
    }
    restored.push({ ...collection, identity });
  }
  await server.addAliases(restored);
  return { collections: restored };
}

async function collectionsOf(place: QdrantPlace, name: string | undefined): Promise<BackupCollection[]> {
  const store = new QdrantStore({ kind: 'qdrant', ...place });
  try {
    const wanted = name === undefined ? undefined : (await store.findCollection(name)).physicalName;
    const [listed, aliases] = await Promise.all([store.listCollections(), store.aliases()]);
    const adopted = listed.find((one) => one.physicalName === wanted && one.readOnly);
    if (adopted) throw readOnly(adopted.name, 'a backup, which could not be put back');
    const ours = listed.filter((one) => !one.readOnly);
    const own = ours.filter(({ physicalName }) => wanted === undefined || physicalName === wanted);
    if (own.length === 0) {
      throw name === undefined
        ? new StoreError('STORE_INVALID_ARGUMENT', `${place.url} has no collections of ours`)
        : collectionNotFound(name);
    }
    return own.map((info) => ({
      ...info,
      aliases: [...aliases].flatMap(([alias, physical]) => (physical === info.physicalName ? [alias] : [])),
    }));
  } finally {
    await store.close();
  }
}

async function refuseExisting(server: Server, { collections }: BackupManifest): Promise<void> {
  const there = await server.aliases();
  for (const { physicalName, aliases } of collections) {
    if (await server.has(physicalName)) {
      throw new StoreError(
        'STORE_INVALID_ARGUMENT',
        `collection "${physicalName}" is there already; drop it first: "scalingnote drop ${physicalName}"`,
      );
    }
    const taken = aliases.find((alias) => there.has(alias));
    if (taken !== undefined) {
      throw new StoreError(
        'STORE_INVALID_ARGUMENT',
        `alias "${taken}" of the backup leads to "${there.get(taken)}" now; drop that collection, or restore elsewhere`,
      );
    }
  }
}

const fileOf = (physicalName: string): string => `${physicalName}.snapshot`;

interface Answer<Result> {
  result: Result;
  status: unknown;
}

/** The requests of Qdrant's REST API that the store does not make. */
class Server {
  readonly #url: string;
  readonly #headers: Record<string, string>;
  readonly #agent: Agent;

  constructor({ url, ...place }: QdrantPlace) {
    if (url.includes(',')) {
      throw new StoreError(
        'STORE_UNSUPPORTED',
        `${url} names several nodes, and a snapshot has the shards of one; use "scalingnote copy", or Qdrant's own ` +
          'snapshots of each node',
      );
    }
    this.#url = url.replace(/\/+$/, '');
    const { apiKey, tls } = qdrantIdentity(place);
    this.#headers = { ...(apiKey && { 'api-key': apiKey() }) };
    // Snapshots take as long as they take; the store's own limits are for searches.
    const connect = reloadingConnector(buildConnector, tls, {});
    this.#agent = new Agent({ headersTimeout: 0, bodyTimeout: 0, connect });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.close();
  }

  async requireSingleNode(): Promise<void> {
    const cluster = await this.#json<{ status: string; peers?: Record<string, unknown> }>('GET', '/cluster');
    const peers = Object.keys(cluster.peers ?? {}).length;
    if (peers <= 1) return;
    throw new StoreError(
      'STORE_UNSUPPORTED',
      `${this.#url} is a cluster of ${peers} nodes, and a snapshot has the shards of one; use "scalingnote copy", or ` +
        "Qdrant's own snapshots of each node",
    );
  }

  /** Makes a snapshot, fetches it, and removes it from the server. */
  async download(collection: string, file: string): Promise<void> {
    const path = `/collections/${encodeURIComponent(collection)}/snapshots`;
    const made = await this.#json<{ name: string; checksum?: string | null }>('POST', `${path}?wait=true`);
    const snapshot = `${path}/${encodeURIComponent(made.name)}`;
    try {
      const { body, statusCode } = await this.#send('GET', snapshot);
      if (statusCode !== 200) throw await refused('GET', snapshot, statusCode, body);
      await pipeline(body, createWriteStream(file, { flags: 'wx', flush: true }));
    } finally {
      await this.#json('DELETE', `${snapshot}?wait=true`).catch(() => {});
    }
    if (made.checksum === undefined || made.checksum === null) return;
    const { sha256 } = await describeFile('', file);
    if (sha256 === made.checksum) return;
    throw new StoreError(
      'STORE_UNAVAILABLE',
      `the snapshot of "${collection}" did not arrive as Qdrant made it; back up again`,
    );
  }

  /** Makes a collection of a snapshot. */
  async upload(
    collection: string,
    file: string,
    { bytes, sha256 }: { bytes: number; sha256: string },
  ): Promise<void> {
    const boundary = `scalingnote-${randomBytes(12).toString('hex')}`;
    const head = Buffer.from(
      `--${boundary}\r\ncontent-disposition: form-data; name="snapshot"; filename="snapshot"\r\n` +
        'content-type: application/octet-stream\r\n\r\n',
    );
    const tail = Buffer.from(`\r\n--${boundary}--\r\n`);
    const body = async function* (): AsyncGenerator<Buffer, void, undefined> {
      yield head;
      yield* createReadStream(file, { highWaterMark: 1024 * 1024 }) as AsyncIterable<Buffer>;
      yield tail;
    };
    const path = `/collections/${encodeURIComponent(collection)}/snapshots/upload`;
    await this.#json('POST', `${path}?wait=true&priority=snapshot&checksum=${sha256}`, body(), {
      'content-type': `multipart/form-data; boundary=${boundary}`,
      'content-length': String(head.length + bytes + tail.length),
    });
  }

  /** Gives a collection its identity, and sees that it has it. */
  async identify(collection: string, identity: string): Promise<void> {
    const path = `/collections/${encodeURIComponent(collection)}`;
    await this.#json('PATCH', path, JSON.stringify({ metadata: { identity } }));
    const { config } = await this.#json<{ config: { metadata?: Record<string, unknown> } }>('GET', path);
    if (config.metadata?.['identity'] === identity) return;
    throw new StoreError(
      'STORE_UNSUPPORTED',
      `Qdrant keeps no metadata of "${collection}"; use 1.16 or later`,
    );
  }

  async has(collection: string): Promise<boolean> {
    const path = `/collections/${encodeURIComponent(collection)}/exists`;
    return (await this.#json<{ exists: boolean }>('GET', path)).exists;
  }

  async drop(collection: string): Promise<void> {
    await this.#json('DELETE', `/collections/${encodeURIComponent(collection)}`);
  }

  async aliases(): Promise<Map<string, string>> {
    const { aliases } = await this.#json<{ aliases: { alias_name: string; collection_name: string }[] }>(
      'GET',
      '/aliases',
    );
    return new Map(aliases.map((one) => [one.alias_name, one.collection_name]));
  }

  async addAliases(collections: readonly BackupCollection[]): Promise<void> {
    const actions = collections.flatMap(({ physicalName, aliases }) =>
      aliases.map((alias) => ({ create_alias: { collection_name: physicalName, alias_name: alias } })),
    );
    if (actions.length > 0) await this.#json('POST', '/collections/aliases', JSON.stringify({ actions }));
  }

  async #json<Result>(
    method: Dispatcher.HttpMethod,
    path: string,
    body?: string | AsyncIterable<Buffer>,
    headers?: Record<string, string>,
  ): Promise<Result> {
    const answer = await this.#send(method, path, body, headers);
    if (answer.statusCode !== 200) throw await refused(method, path, answer.statusCode, answer.body);
    return ((await answer.body.json()) as Answer<Result>).result;
  }

  async #send(
    method: Dispatcher.HttpMethod,
    path: string,
    body?: string | AsyncIterable<Buffer>,
    headers: Record<string, string> = { 'content-type': 'application/json' },
  ): Promise<Dispatcher.ResponseData> {
    try {
      return await request(this.#url + path, {
        method,
        dispatcher: this.#agent,
        headers: { ...this.#headers, ...(body === undefined ? {} : headers) },
        body: (body ?? null) as NonNullable<Dispatcher.DispatchOptions['body']> | null,
      });
    } catch (error) {
      throw new StoreError('STORE_UNAVAILABLE', `Qdrant at ${this.#url}: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }
}

/** What the server says against a request. */
async function refused(
  method: string,
  path: string,
  status: number,
  body: Dispatcher.ResponseData['body'],
): Promise<StoreError> {
  const text = (await body.text()).slice(0, 500);
  const reason =
    status === 401 ? 'STORE_UNAUTHENTICATED' : status === 403 ? 'STORE_PERMISSION_DENIED' : 'STORE_INTERNAL';
  return new StoreError(reason, `Qdrant answered ${method} ${path} with ${status}: ${text}`);
}
