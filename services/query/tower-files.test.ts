import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { TowerManifest } from '../../towers/manifest.ts';
import { serve, until, type Harness } from '../runtime/testing/harness.ts';
import { StartError } from '../runtime/start-error.ts';
import { CHUNK_BYTES, towerFiles } from './tower-files.ts';

const SHIPPED = fileURLToPath(new URL('../../../towers/shipped/', import.meta.url));
const directory = join(SHIPPED, 'all-MiniLM-L6-v2-lookup');
const manifestOf = (folder: string): TowerManifest =>
  JSON.parse(readFileSync(join(folder, 'tower.json'), 'utf8')) as TowerManifest;
const manifest = manifestOf(directory);
const space = manifest.space.fingerprint;
const ORIGIN = 'https://page.example';
const TRANSFERS = 3;

let harness: Harness;
let base: string;
before(async () => {
  const limits = { transfers: TRANSFERS, stallMs: 200 };
  const routes = [await towerFiles({ manifest, directory }, limits)];
  harness = await serve({}, { corsOrigins: [ORIGIN], routes });
  base = `http://${harness.server.address}/v1/tower`;
});
after(() => harness.stop());

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

test('the files that the manifest names, and it itself, come whole and with their hashes', async () => {
  for (const name of ['tower.json', ...Object.keys(manifest.files)]) {
    const response = await fetch(`${base}/${space}/${name}`, { headers: { origin: ORIGIN } });
    assert.equal(response.status, 200, name);
    const bytes = new Uint8Array(await response.arrayBuffer());
    assert.ok(Buffer.from(bytes).equals(readFileSync(join(directory, name))), name);
    assert.equal(response.headers.get('etag'), `"${sha256(bytes)}"`);
    assert.equal(response.headers.get('content-length'), String(bytes.length));
    assert.equal(response.headers.get('cache-control'), 'no-cache');
    assert.equal(response.headers.get('access-control-allow-origin'), ORIGIN);
  }
});

test('an address with the hash may be kept for good; what is there already is not sent again', async () => {
  const hash = manifest.files['tokenizer.json']!;
  const url = `${base}/${space}/tokenizer.json`;
  const whole = await fetch(`${url}?sha256=${hash}`);
  assert.match(whole.headers.get('cache-control')!, /immutable/);
  assert.equal((await whole.arrayBuffer()).byteLength, 533_808);
  for (const known of [`"${hash}"`, `W/"x", "${hash}"`, '*']) {
    const { status, headers } = await fetch(url, { headers: { 'if-none-match': known } });
    assert.deepEqual([status, headers.get('etag')], [304, `"${hash}"`]);
  }
  const head = await fetch(url, { method: 'HEAD' });
  assert.deepEqual([head.status, head.headers.get('content-length')], [200, '533808']);
});

test('nothing else is there: other spaces, other files, other hashes, other origins, other verbs', async () => {
  const other = `sp1_${'0'.repeat(32)}`;
  const cases: [path: string, status: number, message: RegExp][] = [
    [`/${other}/tower.json`, 404, new RegExp(`has the tower of space ${space}, not of ${other}`)],
    [
      `/${space}/report.html`,
      404,
      /has no file report\.html; it has tower\.json, model\.onnx, tokenizer\.json/,
    ],
    [`/${space}/`, 404, /has no file/],
    [`/${space}/../../../etc/passwd`, 404, /./],
    [`/${space}/..%2f..%2fpackage.json`, 404, /has no file/],
    [`/${space}/x/tower.json`, 404, /has no file x\/tower\.json/],
    [`/${space}/__proto__`, 404, /has no file/],
    [
      `/${space}/model.onnx?sha256=${'0'.repeat(64)}`,
      404,
      /has hash [0-9a-f]{64} now; read tower\.json again/,
    ],
    [`/${space}/model.onnx?v=1`, 400, /can only be sha256=/],
  ];
  for (const [path, expected, message] of cases) {
    const response = await fetch(base + path);
    assert.equal(response.status, expected, path);
    assert.match(((await response.json()) as { message: string }).message, message, path);
    assert.equal(response.headers.get('cache-control'), null, path);
  }
  const foreign = await fetch(`${base}/${space}/tower.json`, {
    headers: { origin: 'https://other.example' },
  });
  assert.equal(foreign.status, 403);
  assert.equal((await fetch(`${base}/${space}/tower.json`, { method: 'POST', body: 'x' })).status, 405);
});

test('slow readers hold a place each and no more, and lose it when they stall', async () => {
  const url = `${base}/${space}/model.onnx`;
  const sockets = Array.from({ length: TRANSFERS }, () => {
    const { hostname, port } = new URL(base);
    const socket = connect(Number(port), hostname);
    socket.write(`GET /v1/tower/${space}/model.onnx HTTP/1.1\r\nhost: a\r\n\r\n`);
    socket.pause();
    return socket;
  });
  const refusal = async (): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => get(url, resolve).on('error', reject));
  let refused: IncomingMessage | undefined;
  for (let tries = 0; refused?.statusCode !== 429; tries++) {
    refused?.destroy();
    refused = await refusal();
    assert.ok(tries < 1000);
  }
  let body = '';
  for await (const chunk of refused) body += String(chunk);
  assert.match(body, /too many files are being sent/);
  assert.equal(refused.headers['cache-control'], undefined);
  // Nobody reads: they lose their places, and the next reader gets the whole file.
  const { size } = statSync(join(directory, 'model.onnx'));
  let whole = 0;
  await until(() => sockets.length > 0);
  for (let tries = 0; whole !== size; tries++) {
    const response = await fetch(url);
    whole = response.ok ? (await response.arrayBuffer()).byteLength : 0;
    if (!response.ok) await response.text();
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.ok(tries < 1000);
  }
  for (const socket of sockets) socket.destroy();
  assert.ok(CHUNK_BYTES * TRANSFERS < 1024 * 1024);
});

test('a tower that no page can run is refused when the service starts', async () => {
  const folder = join(SHIPPED, 'all-MiniLM-L6-v2-transformer-2');
  await assert.rejects(
    towerFiles({ manifest: manifestOf(folder), directory: folder }),
    (error) => error instanceof StartError && /transformer-2 has no stages/.test(error.message),
  );
});
