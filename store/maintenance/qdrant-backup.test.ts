import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, test } from 'node:test';
import { StoreError } from '../errors.ts';
import { LAYOUT } from '../qdrant/layout.ts';
import { openapiMissing, RequestChecker } from '../qdrant/testing/openapi.ts';
import { physicalName } from '../store.ts';
import { backupQdrant, restoreQdrant } from './qdrant-backup.ts';

const root = mkdtempSync(join(tmpdir(), 'scalingnote-snapshots-'));
after(() => rmSync(root, { recursive: true }));

const FINGERPRINT = `sp1_${'a'.repeat(32)}`;
const DOCS = physicalName('docs', FINGERPRINT);
const IDENTITY = `col_${'1'.repeat(32)}`;

/** A collection of the fake: what a snapshot holds of it. */
interface FakeCollection {
  metadata: Record<string, unknown>;
  points: number;
}

/**
 * What Qdrant's REST API says and does, as its OpenAPI document has it, for the requests of backups: snapshots, metadata,
 * aliases. A snapshot is the collection as JSON with some bytes behind it.
 */
class FakeQdrant {
  readonly collections = new Map<string, FakeCollection>();
  readonly aliases = new Map<string, string>();
  readonly snapshots = new Map<string, Buffer>();
  readonly wrong: string[] = [];
  peers = 1;
  failsAt = '';
  /** Cuts the last byte off what is fetched. */
  cuts = false;
  #made = 0;
  readonly #checker = openapiMissing === undefined ? new RequestChecker() : undefined;
  readonly #server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { pathname: path, searchParams: query } = new URL(request.url ?? '', 'http://x');
      const body = Buffer.concat(chunks);
      const method = request.method ?? '';
      // The checker knows bodies of JSON alone.
      if (!path.endsWith('/upload')) {
        const wrong = this.#checker?.check({ method, path, query, headers: {}, body: body.toString() });
        if (wrong !== undefined) this.wrong.push(wrong);
      }
      const answer = this.#answer(method, path, query, body);
      const fails = this.failsAt !== '' && `${method} ${path}`.includes(this.failsAt);
      if (fails || answer === undefined)
        response.writeHead(fails ? 500 : 404).end('{"status":{"error":"no"}}');
      else if (Buffer.isBuffer(answer)) response.end(answer);
      else response.end(JSON.stringify({ result: answer, status: 'ok', time: 0 }));
    });
  });

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  #answer(method: string, path: string, query: URLSearchParams, body: Buffer): unknown {
    const [, , name = '', ...rest] = path.split('/');
    const collection = this.collections.get(name);
    switch (`${method} /${[path.split('/')[1], ...rest.slice(0, 1)].join('/')}`) {
      case 'GET /': {
        return { title: 'qdrant - vector search engine', version: '1.18.3' };
      }
      case 'GET /cluster':
        return this.peers > 1
          ? {
              status: 'enabled',
              peers: Object.fromEntries([...Array(this.peers).keys()].map((id) => [id, {}])),
            }
          : { status: 'disabled' };
      case 'GET /aliases':
        return {
          aliases: [...this.aliases].map(([alias, target]) => ({
            alias_name: alias,
            collection_name: target,
          })),
        };
      case 'GET /collections':
        if (name === '') return { collections: [...this.collections.keys()].map((one) => ({ name: one })) };
        return collection && description(collection);
      case 'PATCH /collections': {
        const { metadata } = JSON.parse(body.toString()) as { metadata: object };
        Object.assign(collection!.metadata, metadata);
        return true;
      }
      case 'DELETE /collections':
        return this.collections.delete(name);
      case 'GET /collections/exists':
        return { exists: collection !== undefined };
      case 'POST /collections': {
        const { actions } = JSON.parse(body.toString()) as {
          actions: { create_alias: { collection_name: string; alias_name: string } }[];
        };
        for (const { create_alias: made } of actions) this.aliases.set(made.alias_name, made.collection_name);
        return true;
      }
      case 'POST /collections/points':
        return { count: collection!.points };
      case 'POST /collections/snapshots':
        return rest[1] === 'upload' ? this.#upload(name, query, body) : this.#snapshot(collection!);
      case 'GET /collections/snapshots':
        return this.snapshots.get(rest[1]!)?.subarray(this.cuts ? 1 : 0);
      case 'DELETE /collections/snapshots':
        return this.snapshots.delete(rest[1]!);
      default:
        return undefined;
    }
  }

  #snapshot(collection: FakeCollection): object {
    const bytes = Buffer.concat([Buffer.from(`${JSON.stringify(collection)}\n`), Buffer.alloc(300_000, 7)]);
    const name = `snapshot-${++this.#made}`;
    this.snapshots.set(name, bytes);
    return { name, size: bytes.length, checksum: hash('sha256', bytes, 'hex') };
  }

  #upload(name: string, query: URLSearchParams, body: Buffer): boolean {
    const begin = body.indexOf('\r\n\r\n') + 4;
    const end = body.lastIndexOf('\r\n--', body.length - 5);
    const bytes = body.subarray(begin, end);
    if (query.get('checksum') !== hash('sha256', bytes, 'hex')) this.wrong.push('the checksum does not fit');
    if (query.get('wait') !== 'true' || query.get('priority') !== 'snapshot') this.wrong.push('parameters');
    this.collections.set(
      name,
      JSON.parse(bytes.subarray(0, bytes.indexOf('\n')).toString()) as FakeCollection,
    );
    return true;
  }
}

function description({ metadata, points }: FakeCollection): object {
  return {
    status: 'green',
    points_count: points,
    payload_schema: {},
    config: {
      params: { vectors: { dense: { size: 3, distance: 'Cosine' } }, shard_number: 1, replication_factor: 1 },
      optimizer_config: { indexing_threshold: 10_000 },
      metadata,
    },
  };
}

const servers: FakeQdrant[] = [];
after(() => servers.forEach((server) => server.stop()));

/** A server with the collection "docs", and one without. */
async function pair(): Promise<{ source: FakeQdrant; target: FakeQdrant; from: string; to: string }> {
  const source = new FakeQdrant();
  const target = new FakeQdrant();
  servers.push(source, target);
  const metadata = { product: 'scalingnote', space: FINGERPRINT, layout: LAYOUT, identity: IDENTITY };
  source.collections.set(DOCS, { metadata, points: 12 });
  source.aliases.set('docs', DOCS).set('live', DOCS);
  return { source, target, from: await source.start(), to: await target.start() };
}

let count = 0;
let backup = '';
beforeEach(() => {
  backup = join(root, `backup${++count}`);
});

const isReason =
  (reason: string, says = /./) =>
  (error: unknown): boolean =>
    error instanceof StoreError && error.reason === reason && says.test(error.message);

test('a snapshot goes into the backup and back, with its aliases and a new identity', async () => {
  const { source, target, from, to } = await pair();
  const { collections } = await backupQdrant({ url: from }, backup, undefined);
  assert.deepEqual(
    collections.map(({ physicalName: name, aliases, identity }) => [name, aliases, identity]),
    [[DOCS, ['docs', 'live'], IDENTITY]],
  );
  assert.equal(source.snapshots.size, 0);
  const restored = await restoreQdrant({ url: to }, { from: backup, fingerprint: FINGERPRINT });
  const { metadata, points } = target.collections.get(DOCS)!;
  assert.equal(points, 12);
  assert.equal(metadata['space'], FINGERPRINT);
  assert.match(String(metadata['identity']), /^col_[0-9a-f]{32}$/);
  assert.notEqual(metadata['identity'], IDENTITY);
  assert.equal(restored.collections[0]!.identity, metadata['identity']);
  assert.deepEqual([...target.aliases].sort(), [
    ['docs', DOCS],
    ['live', DOCS],
  ]);
  assert.deepEqual([...source.wrong, ...target.wrong], []);
});

test('a collection that is there, an alias that is taken, another space, a flipped byte: refused, nothing is sent', async () => {
  const { target, from, to } = await pair();
  await backupQdrant({ url: from }, backup, 'docs');
  await assert.rejects(restoreQdrant({ url: from }, { from: backup }), /is there already/);
  target.aliases.set('docs', 'elsewhere');
  await assert.rejects(restoreQdrant({ url: to }, { from: backup }), /alias "docs".*"elsewhere"/);
  target.aliases.clear();
  await assert.rejects(
    restoreQdrant({ url: to }, { from: backup, fingerprint: `sp1_${'b'.repeat(32)}` }),
    isReason('SPACE_MISMATCH'),
  );
  const file = join(backup, `${DOCS}.snapshot`);
  const bytes = readFileSync(file);
  bytes[1000]! ^= 1;
  writeFileSync(file, bytes);
  await assert.rejects(
    restoreQdrant({ url: to }, { from: backup }),
    isReason('BACKUP_DAMAGED', new RegExp(DOCS)),
  );
  assert.equal(target.collections.size, 0);
});

test('a restore that breaks leaves no collection with its old identity', async () => {
  const { target, from, to } = await pair();
  await backupQdrant({ url: from }, backup, 'docs');
  target.failsAt = 'PATCH /collections/';
  await assert.rejects(restoreQdrant({ url: to }, { from: backup }), /PATCH.*500/);
  assert.equal(target.collections.size, 0);
});

test('a snapshot that arrives otherwise than it was made is no backup', async () => {
  const { source, from } = await pair();
  source.failsAt = 'GET /collections/docs--sp1_aaaaaaaa/snapshots';
  await assert.rejects(backupQdrant({ url: from }, backup, 'docs'), /500/);
  source.failsAt = '';
  source.cuts = true;
  await assert.rejects(
    backupQdrant({ url: from }, backup, 'docs'),
    isReason('STORE_UNAVAILABLE', /did not arrive/),
  );
  assert.ok(!existsSync(backup));
  assert.deepEqual(
    readdirSync(root).filter((name) => name.endsWith('.part')),
    [],
  );
});

test('a cluster is refused, with what to do instead', async () => {
  const { source, from } = await pair();
  source.peers = 3;
  await assert.rejects(backupQdrant({ url: from }, backup, undefined), isReason('STORE_UNSUPPORTED', /copy/));
  await assert.rejects(
    backupQdrant({ url: `${from},${from}` }, backup, undefined),
    isReason('STORE_UNSUPPORTED'),
  );
});

test('a collection that is not there, and a server that is not there', async () => {
  const { from } = await pair();
  await assert.rejects(backupQdrant({ url: from }, backup, 'nowhere'), isReason('COLLECTION_NOT_FOUND'));
  await assert.rejects(
    backupQdrant({ url: 'http://127.0.0.1:9' }, backup, undefined),
    isReason('STORE_UNAVAILABLE'),
  );
});
