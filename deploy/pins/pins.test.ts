import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { parse } from 'yaml';
import { pathOf } from '../testing/telemetry-files.ts';
import { parseImage } from './registry.ts';

const MANIFEST = '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}';
const DIGEST = `sha256:${createHash('sha256').update(MANIFEST).digest('hex')}`;

/** A registry that asks for a token, as Docker Hub does. It has `good/one:v1.0.0` and lies about `bad/lie:v1.0.0`. */
async function registry(context: TestContext): Promise<string> {
  const server = createServer((request, response) => {
    const { url = '', headers } = request;
    const base = `http://${headers.host}`;
    if (url.startsWith('/token')) {
      assert.equal(new URL(url, base).searchParams.get('service'), 'stand-in');
      return response.end(JSON.stringify({ token: 'secret' }));
    }
    if (headers.authorization !== 'Bearer secret') {
      const challenge = `Bearer realm="${base}/token",service="stand-in",scope="repository:x:pull"`;
      return response.writeHead(401, { 'www-authenticate': challenge }).end();
    }
    assert.match(headers.accept ?? '', /oci\.image\.index/);
    if (url === '/v2/good/one/manifests/v1.0.0') {
      return response.writeHead(200, { 'docker-content-digest': DIGEST }).end(MANIFEST);
    }
    if (url === '/v2/bad/lie/manifests/v1.0.0') {
      return response.writeHead(200, { 'docker-content-digest': DIGEST }).end(`${MANIFEST} `);
    }
    return response.writeHead(404).end();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(() => server.close());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

interface Run {
  code: number;
  stdout: string;
  folder: string;
}

async function pinDigests(context: TestContext, images: string[], ...flags: string[]): Promise<Run> {
  const folder = mkdtempSync(join(tmpdir(), 'scalingnote-pins-'));
  context.after(() => rmSync(folder, { recursive: true }));
  const services = Object.fromEntries(images.map((image, index) => [`service${index}`, { image }]));
  writeFileSync(join(folder, 'compose.yml'), JSON.stringify({ services }));
  const files = ['--compose', join(folder, 'compose.yml'), '--out', folder];
  const all = [...files, '--dockerfile', pathOf('deploy/Dockerfile'), ...flags];
  return new Promise((resolve) => {
    execFile(pathOf('deploy/pin-digests'), all, (error, stdout) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, folder });
    });
  });
}

test('digests are those that a registry answers', async (context) => {
  const at = await registry(context);
  const own = ['--document', `${at}/good/one:v1.0.0`];
  const { code, stdout, folder } = await pinDigests(context, [`${at}/good/one:v1.0.0`], ...own);
  assert.deepEqual([code, stdout], [0, `${at}/good/one:v1.0.0 ${DIGEST}\n`]);
  const compose = parse(readFileSync(join(folder, 'docker-compose.pinned.yml'), 'utf8')) as object;
  assert.deepEqual(compose, { services: { service0: { image: `${at}/good/one:v1.0.0@${DIGEST}` } } });
  const chart = parse(readFileSync(join(folder, 'values.pinned.yaml'), 'utf8')) as object;
  assert.deepEqual(chart, { images: { document: { repository: `${at}/good/one`, digest: DIGEST } } });
});

test('what a registry does not have, does not answer or lies about is said, and left out', async (context) => {
  const at = await registry(context);
  const images = ['good/one:v1.0.0', 'bad/lie:v1.0.0', 'no/such:v1.0.0', 'good/one'].map(
    (image) => `${at}/${image}`,
  );
  const { code, stdout, folder } = await pinDigests(context, [...images, '127.0.0.1:9/away/one:v1.0.0']);
  assert.equal(code, 1);
  assert.match(
    stdout,
    /not pinned: \S+\/bad\/lie:v1\.0\.0 \(the registry says sha256:\w+, and what it sends is/,
  );
  assert.match(stdout, /not pinned: \S+\/no\/such:v1\.0\.0 \(the registry says 404\)/);
  assert.match(stdout, /not pinned: \S+\/good\/one \(it has no tag\)/);
  assert.match(stdout, /not pinned: \S+\/away\/one:v1\.0\.0 \(the registry does not answer/);
  const { services } = parse(readFileSync(join(folder, 'docker-compose.pinned.yml'), 'utf8')) as {
    services: object;
  };
  assert.deepEqual(Object.keys(services), ['service0']);
  assert.ok(!existsSync(join(folder, 'values.pinned.yaml')));
});

test('names are read as Docker reads them', () => {
  const hub = 'registry-1.docker.io';
  assert.deepEqual(parseImage('node:24.21.0-bookworm-slim'), {
    registry: hub,
    name: 'library/node',
    tag: '24.21.0-bookworm-slim',
  });
  assert.deepEqual(parseImage('prom/prometheus:v3.2.1'), {
    registry: hub,
    name: 'prom/prometheus',
    tag: 'v3.2.1',
  });
  assert.deepEqual(parseImage('ghcr.io/a/b/c:1.0.0'), { registry: 'ghcr.io', name: 'a/b/c', tag: '1.0.0' });
  assert.deepEqual(parseImage('localhost:5000/a:1.0.0'), {
    registry: 'localhost:5000',
    name: 'a',
    tag: '1.0.0',
  });
  for (const wrong of ['node', 'localhost:5000/a', 'a@sha256:00'])
    assert.throws(() => parseImage(wrong), wrong);
});
