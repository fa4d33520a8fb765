import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { download, type Download } from './download.ts';
import { TowerError } from './errors.ts';
import type { Integrity } from './hash.ts';
import { Http } from './http.ts';
import type { DownloadProgress } from './options.ts';
import { breakAfter, startServer, type Answer, type TestServer } from './testing/server.ts';
import { sha256, temporaryFolder } from './testing/tiny-tower.ts';

process.env['NO_PROXY'] = '127.0.0.1';

const contents = randomBytes(300_000);
const integrity: Integrity = { algorithm: 'sha256', digest: sha256(contents) };

interface Setting {
  server: TestServer;
  http: Http;
  wanted: Download;
  progress: DownloadProgress[];
}

async function setUp(context: TestContext, answer: Answer, attempts = 3): Promise<Setting> {
  const server = await startServer(context, { '/file': answer });
  const http = new Http({ attempts, firstMs: 1, longestMs: 1 });
  context.after(() => http.close());
  const progress: DownloadProgress[] = [];
  const wanted: Download = {
    url: `${server.url}file`,
    advice: 'do something',
    path: join(temporaryFolder(context), 'part'),
    name: 'the file',
    integrity,
    onProgress: (each) => progress.push(each),
  };
  return { server, http, wanted, progress };
}

function reason(expected: string, pattern = /./): (error: unknown) => boolean {
  return (error) => error instanceof TowerError && error.reason === expected && pattern.test(error.message);
}

test('a file is fetched, and its progress ends at its size', async (context) => {
  const { http, wanted, progress } = await setUp(context, contents);
  await download(http, wanted);
  assert.deepEqual(readFileSync(wanted.path), contents);
  assert.deepEqual(progress.at(-1), {
    file: 'the file',
    receivedBytes: contents.length,
    totalBytes: contents.length,
  });
});

test('a broken connection is taken up where it broke', async (context) => {
  const { http, wanted, server, progress } = await setUp(context, (request, response) => {
    server.answers.set('/file', contents);
    const answer = breakAfter(contents, 100_000);
    if (typeof answer === 'function') answer(request, response);
  });
  await download(http, wanted);
  assert.deepEqual(readFileSync(wanted.path), contents);
  assert.equal(server.seen.length, 2);
  assert.match(server.seen[1]!.range ?? '', /^bytes=[1-9]\d*-$/);
  assert.equal(progress.at(-1)!.receivedBytes, contents.length);
});

test('what an earlier process left is continued', async (context) => {
  const { http, wanted, server } = await setUp(context, contents);
  writeFileSync(wanted.path, contents.subarray(0, 123_456));
  await download(http, wanted);
  assert.deepEqual(readFileSync(wanted.path), contents);
  assert.deepEqual(
    server.seen.map(({ range }) => range),
    ['bytes=123456-'],
  );
});

test('what is complete already is not fetched again', async (context) => {
  const { http, wanted, server } = await setUp(context, contents);
  writeFileSync(wanted.path, contents);
  await download(http, wanted);
  assert.deepEqual(readFileSync(wanted.path), contents);
  assert.equal(server.seen.length, 1);
});

test('a server without ranges sends all of it again', async (context) => {
  const { http, wanted } = await setUp(context, (_request, response) => response.end(contents));
  writeFileSync(wanted.path, contents.subarray(0, 1_000));
  await download(http, wanted);
  assert.deepEqual(readFileSync(wanted.path), contents);
});

test('a part of another file is thrown away', async (context) => {
  const { http, wanted, server } = await setUp(context, contents);
  writeFileSync(wanted.path, randomBytes(1_000));
  await download(http, wanted);
  assert.deepEqual(readFileSync(wanted.path), contents);
  assert.deepEqual(
    server.seen.map(({ range }) => range),
    ['bytes=1000-', undefined],
  );
});

test('the wrong file is refused and not kept', async (context) => {
  const { http, wanted } = await setUp(context, randomBytes(1_000));
  await assert.rejects(download(http, wanted), reason('TOWER_INTEGRITY', new RegExp(integrity.digest)));
  assert.equal(existsSync(wanted.path), false);
});

test('a missing file is not asked for twice', async (context) => {
  const { http, wanted, server } = await setUp(context, contents);
  server.answers.clear();
  await assert.rejects(download(http, wanted), reason('TOWER_NOT_FOUND', /\/file is not there \(404\)/));
  assert.equal(server.seen.length, 1);
});

test('a server that fails is asked again, and in the end named with advice', async (context) => {
  const { http, wanted, server } = await setUp(context, (_request, response) =>
    response.writeHead(503).end(),
  );
  await assert.rejects(
    download(http, wanted),
    reason('TOWER_SOURCE_UNREACHABLE', /\/file: the server answers with status 503; do something/),
  );
  assert.equal(server.seen.length, 3);
});

test('refused access is said, and not asked for again', async (context) => {
  const { http, wanted, server } = await setUp(context, (_request, response) =>
    response.writeHead(401).end(),
  );
  await assert.rejects(
    download(http, wanted),
    reason('TOWER_SOURCE_UNREACHABLE', /access is refused \(401\)/),
  );
  assert.equal(server.seen.length, 1);
});

test('nobody at the address is an error with advice', async (context) => {
  const { http, wanted } = await setUp(context, contents);
  const closed = { ...wanted, url: 'http://127.0.0.1:1/file' };
  await assert.rejects(download(http, closed), reason('TOWER_SOURCE_UNREACHABLE', /; do something$/));
});

test('a connection that keeps breaking is given up once nothing comes any more', async (context) => {
  const large = randomBytes(4 << 20);
  // What is not on disk yet when the connection breaks is lost: half as much again as is worth the while.
  const { http, wanted, server } = await setUp(context, breakAfter(large, 3 << 19), 1);
  await download(http, { ...wanted, integrity: { algorithm: 'sha256', digest: sha256(large) } });
  assert.ok(server.seen.length >= 3);
  const { http: other, wanted: never } = await setUp(context, breakAfter(large, 0), 1);
  await assert.rejects(download(other, never), reason('TOWER_SOURCE_UNREACHABLE'));
});

test('a full disk is an error that says so', { skip: !existsSync('/dev/full') }, async (context) => {
  const { http, wanted } = await setUp(context, contents);
  symlinkSync('/dev/full', wanted.path);
  await assert.rejects(download(http, wanted), reason('DISK_FULL', /SCALINGNOTE_CACHE/));
});

test('a file larger than the disk is refused before it is fetched', async (context) => {
  const { http, wanted } = await setUp(context, (_request, response) => {
    response.writeHead(200, { 'content-length': 2 ** 52 });
    response.flushHeaders();
  });
  await assert.rejects(download(http, wanted), reason('DISK_FULL', /MB are needed/));
});

test('tokens go to the server they are for, and not where it redirects', async (context) => {
  const elsewhere = await startServer(context, { '/file': contents });
  const { http, wanted, server } = await setUp(context, (_request, response) =>
    response.writeHead(302, { location: `${elsewhere.url.replace('127.0.0.1', 'localhost')}file` }).end(),
  );
  await download(http, { ...wanted, headers: { authorization: 'Bearer secret' } });
  assert.equal(server.seen[0]!.authorization, 'Bearer secret');
  assert.equal(elsewhere.seen[0]!.authorization, undefined);
});

test('proxies of the environment are used', async (context) => {
  const { wanted, server } = await setUp(context, contents);
  let tunnels = 0;
  const proxy = createServer();
  proxy.on('connect', (request, socket) => {
    tunnels++;
    const [host, port] = request.url!.split(':');
    const upstream = connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      upstream.pipe(socket).pipe(upstream);
    });
    upstream.on('error', () => socket.destroy());
    socket.on('error', () => upstream.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  context.after(() => proxy.close());
  process.env['HTTP_PROXY'] = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  process.env['NO_PROXY'] = '';
  context.after(() => {
    delete process.env['HTTP_PROXY'];
    process.env['NO_PROXY'] = '127.0.0.1';
  });
  const http = new Http();
  try {
    await download(http, wanted);
  } finally {
    await http.close();
  }
  assert.equal(tunnels, 1);
  assert.equal(server.seen.length, 1);
});
