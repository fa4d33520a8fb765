import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { Hono } from 'hono';
import { pino } from 'pino';
import { StartError } from '../../runtime/server.ts';
import { type Bridge, serveRoutes } from '../testing/bridge.ts';
import { takes } from './body.ts';
import { badRequest, HttpError } from './errors.ts';
import { pageRoutes } from './files.ts';
import { startHttpServer } from './server.ts';

const LIMIT = 1000;

let bridge: Bridge;

before(async () => {
  const things = new Hono()
    .get('/api/things/:id', (context) => context.json(context.req.param()))
    .post('/api/things', takes(undefined, LIMIT), async (context) =>
      context.json({ bytes: (await context.req.arrayBuffer()).byteLength }, 201),
    )
    .post('/v1/things', takes(), async (context) =>
      context.json({ bytes: (await context.req.arrayBuffer()).byteLength }),
    )
    .get('/api/wrong', () => {
      throw badRequest('field', 'is wrong; send another');
    })
    .get('/api/broken', () => {
      throw new TypeError('nobody foresaw this');
    })
    .get('/api/busy', () => {
      throw new HttpError(429, 'BUSY', 'wait', { retryDelayMs: 50 });
    });
  bridge = await serveRoutes([things, pageRoutes()], ['console.example']);
});

after(() => bridge.stop());

function reason(json: unknown): string {
  return (json as { error: { reason: string } }).error.reason;
}

describe('who may ask', () => {
  const port = (): string => bridge.address.split(':')[1]!;

  test('names of this machine, with any port, and names that were allowed', async () => {
    for (const host of [
      `127.0.0.1:${port()}`,
      `localhost:${port()}`,
      'LOCALHOST:8000',
      '[::1]:1',
      'console.example',
    ]) {
      const { status } = await bridge.ask('GET', '/api/things/a', { headers: { host } });
      assert.equal(status, 200, host);
    }
  });

  test('another name that leads here is refused, with what to do', async () => {
    for (const host of ['evil.example', `127.0.0.1.evil.example:${port()}`, 'localhost@evil.example', '/']) {
      for (const path of ['/', '/api/things/a', '/nowhere']) {
        const { status, json, text } = await bridge.ask('GET', path, { headers: { host } });
        assert.equal(status, 421, `${host} ${path}`);
        assert.equal(reason(json), 'HOST_NOT_ALLOWED');
        assert.match(text, /--console-hosts/);
      }
    }
  });

  test('a page of another origin is refused, whatever it asks for', async () => {
    for (const origin of [
      'https://evil.example',
      'null',
      'http://127.0.0.1',
      `http://127.0.0.1:${port()}.evil.example`,
      `http://127.0.0.1:${port()}@evil.example`,
      `http://localhost:${port()}`,
    ]) {
      for (const [method, path] of [
        ['POST', '/api/things'],
        ['GET', '/api/things/a'],
        ['POST', '/v1/things'],
      ] as const) {
        const body = method === 'POST' ? { body: {} } : {};
        const { status, json } = await bridge.ask(method, path, { headers: { origin }, ...body });
        assert.equal(status, 403, `${origin} ${path}`);
        assert.equal(reason(json), 'ORIGIN_NOT_ALLOWED');
      }
    }
  });

  test('the page itself is not, and neither is a program', async () => {
    const own = { origin: `http://${bridge.address}`, 'sec-fetch-site': 'same-origin' };
    assert.equal((await bridge.ask('POST', '/api/things', { headers: own, body: {} })).status, 201);
    assert.equal((await bridge.ask('POST', '/api/things', { body: {} })).status, 201);
  });

  test('a link from another site leads to the page, and to nothing else', async () => {
    const headers = { 'sec-fetch-site': 'cross-site' };
    assert.equal((await bridge.ask('GET', '/', { headers })).status, 200);
    assert.equal((await bridge.ask('GET', '/api/things/a', { headers })).status, 403);
  });

  test('what is for programs takes any name, and no browser', async () => {
    const host = 'console:7400';
    assert.equal((await bridge.ask('POST', '/v1/things', { headers: { host }, body: {} })).status, 200);
    const headers = { 'sec-fetch-site': 'same-origin' };
    assert.equal((await bridge.ask('POST', '/v1/things', { headers, body: {} })).status, 403);
  });

  test('no answer lets another origin read it', async () => {
    const { headers, status } = await bridge.ask('OPTIONS', '/api/things', {
      headers: { 'access-control-request-method': 'POST' },
    });
    assert.equal(status, 405);
    assert.deepEqual(
      Object.keys(headers).filter((name) => name.startsWith('access-control')),
      [],
    );
  });
});

describe('every answer', () => {
  test('forbids what the page does not need, errors included', async () => {
    for (const path of ['/', '/api/things/a', '/nowhere', '/api/broken']) {
      const { headers } = await bridge.ask('GET', path);
      const policy = String(headers['content-security-policy']);
      assert.match(policy, /default-src 'none'/);
      assert.doesNotMatch(policy, /unsafe|https?:|data:|\*/);
      for (const directive of ['frame-ancestors', 'base-uri', 'form-action']) {
        assert.match(policy, new RegExp(`${directive} 'none'`));
      }
      assert.equal(headers['x-content-type-options'], 'nosniff');
      assert.equal(headers['referrer-policy'], 'no-referrer');
      assert.equal(headers['cross-origin-resource-policy'], 'same-origin');
    }
  });

  test('the page is all our own: no inline script or style, nothing from elsewhere', async () => {
    const { text, headers } = await bridge.ask('GET', '/');
    assert.equal(headers['content-type'], 'text/html; charset=utf-8');
    assert.doesNotMatch(text, /<style|style=|javascript:|\son\w+=/i);
    for (const [tag] of text.matchAll(/<script[^>]*>[^<]*/g)) assert.match(tag, /src="\/[^"]*">$/);
    const parts = [...text.matchAll(/(?:src|href)="(?<path>[^"]+)"/g)].map(({ groups }) => groups!['path']!);
    assert.ok(parts.length >= 3);
    for (const path of parts) {
      const part = await bridge.ask('GET', path);
      assert.equal(part.status, 200, path);
      const cached = await bridge.ask('GET', path, { headers: { 'if-none-match': part.headers.etag! } });
      assert.deepEqual([cached.status, cached.text], [304, ''], path);
    }
  });
});

describe('requests', () => {
  test('a body that is too large is refused, whether or not it says how large it is', async () => {
    const body = Buffer.alloc(LIMIT + 1, ' ');
    const ways: Record<string, string>[] = [{}, { 'transfer-encoding': 'chunked' }];
    for (const headers of ways) {
      const { status, json } = await bridge.ask('POST', '/api/things', { body, headers });
      assert.equal(status, 413);
      assert.equal(reason(json), 'BODY_TOO_LARGE');
    }
    const fits = await bridge.ask('POST', '/api/things', { body: Buffer.alloc(LIMIT, ' ') });
    assert.deepEqual(fits.json, { bytes: LIMIT });
  });

  test('a body is refused where the method has none, rather than ignored', async () => {
    const body = Buffer.from('{}');
    for (const headers of [{ 'content-length': '2' }, { 'transfer-encoding': 'chunked' }]) {
      const { status, json } = await bridge.ask('GET', '/api/things/a', { body, headers });
      assert.equal(status, 413);
      assert.match(JSON.stringify(json), /GET \/api\/things\/a takes no body/);
    }
  });

  test('a body does not hide that a method is not allowed', async () => {
    const { status, headers } = await bridge.ask('PUT', '/api/things/a', { body: Buffer.from('{}') });
    assert.deepEqual([status, headers['allow']], [405, 'GET, HEAD']);
  });

  test('the unread rest of a rejected body is not taken for a request', async () => {
    const [host, port] = bridge.address.split(':');
    const answer = await new Promise<string>((resolve, reject) => {
      const head = ['POST /api/things HTTP/1.1', 'host: 127.0.0.1', 'content-type: application/json'];
      const socket = connect(Number(port), host, () => {
        socket.write(`${[...head, 'content-length: 5000'].join('\r\n')}\r\n\r\n{`);
      });
      let text = '';
      socket.on('data', (chunk) => (text += chunk.toString()));
      socket.on('error', reject);
      socket.on('close', () => resolve(text));
    });
    assert.match(answer, /^HTTP\/1.1 413 .*connection: close/is);
  });

  test('a body that a form of another site could send is refused', async () => {
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
    ]) {
      const { status } = await bridge.ask('POST', '/api/things', {
        headers: { 'content-type': type },
        body: {},
      });
      assert.equal(status, 415, type);
    }
    const headers = { 'content-type': 'Application/JSON; charset=utf-8' };
    assert.equal((await bridge.ask('POST', '/api/things', { headers, body: {} })).status, 201);
  });

  test('paths: parameters are decoded, and none leads to a file', async () => {
    assert.deepEqual((await bridge.ask('GET', '/api/things/a%20b%2Fc')).json, { id: 'a b/c' });
    for (const path of [
      '/api/things/%ff',
      '/api/things/',
      '/nowhere',
      '/../package.json',
      '/%2e%2e/package.json',
      '/assets/..%2f..%2fmain.js',
      '//evil.example/',
    ]) {
      assert.equal((await bridge.ask('GET', path)).status, 404, path);
    }
  });

  test('the wrong method is told the right one', async () => {
    const { status, headers } = await bridge.ask('GET', '/api/things');
    assert.deepEqual([status, headers.allow], [405, 'POST']);
    const head = await bridge.ask('HEAD', '/');
    assert.deepEqual([head.status, head.text], [200, '']);
    assert.ok(Number(head.headers['content-length']) > 0);
  });

  test('errors are JSON with a reason, and those that nobody foresaw tell nothing but a reference', async () => {
    const wrong = await bridge.ask('GET', '/api/wrong');
    assert.equal(wrong.status, 400);
    assert.deepEqual(wrong.json, {
      error: {
        reason: 'INVALID_ARGUMENT',
        message: 'field: is wrong; send another',
        violations: [{ field: 'field', description: 'is wrong; send another' }],
      },
    });
    const busy = await bridge.ask('GET', '/api/busy');
    assert.deepEqual(busy.json, { error: { reason: 'BUSY', message: 'wait', retryDelayMs: 50 } });
    const broken = await bridge.ask('GET', '/api/broken');
    assert.equal(broken.status, 500);
    assert.doesNotMatch(broken.text, /nobody foresaw/);
    assert.match(broken.text, /reference/);
  });

  test('what is no HTTP does not stop the server', async () => {
    const [host, port] = bridge.address.split(':');
    await new Promise<void>((resolve, reject) => {
      const socket = connect(Number(port), host, () => socket.write('what is this?\r\n\r\n'));
      socket.on('error', reject);
      socket.on('data', () => {});
      socket.on('close', () => resolve());
    });
    assert.equal((await bridge.ask('GET', '/')).status, 200);
  });
});

test('a port that is taken is told with the setting that chooses another', async () => {
  const port = Number(bridge.address.split(':')[1]);
  const log = pino({ level: 'silent' });
  const options = { host: '127.0.0.1', port, portSetting: '--port or X', names: [], routes: [], log };
  await assert.rejects(startHttpServer(options), (error) => {
    assert.ok(error instanceof StartError);
    assert.match(error.message, /busy.*--port or X/);
    return true;
  });
});

test('what is in flight when the server stops is still answered', async () => {
  let begin = (): void => {};
  const begun = new Promise<void>((resolve) => (begin = resolve));
  let finish = (): void => {};
  const slow = new Hono().get('/api/slow', async (context) => {
    begin();
    await new Promise<void>((resolve) => (finish = resolve));
    return context.json('done');
  });
  const server = await startHttpServer({
    host: '127.0.0.1',
    port: 0,
    portSetting: '--port',
    names: [],
    routes: [slow],
    log: pino({ level: 'silent' }),
  });
  const response = fetch(`http://${server.address}/api/slow`).then((each) => each.json());
  await begun;
  const stopped = server.shutdown(10_000);
  finish();
  assert.equal(await response, 'done');
  await stopped;
  await assert.rejects(fetch(`http://${server.address}/api/slow`));
});
