import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test, type TestContext } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { pino } from 'pino';
import { Authority } from '../../../keys/certificates.ts';
import { hashOf, makeKey } from '../../../keys/key.ts';
import { changeKeyFile } from '../../../keys/key-file.ts';
import { v1 } from '../../../proto/load.ts';
import { openAccess, type OpenAccess } from '../../runtime/access/open.ts';
import { Settings } from '../../runtime/config.ts';
import { service, startServer, type RunningServer } from '../../runtime/server.ts';
import { NOTHING } from '../../runtime/testing/harness.ts';
import { openTls, type Tls } from '../../runtime/tls/tls.ts';
import { startHttpServer, type RunningHttpServer } from '../http/server.ts';
import { ingestRoutes } from '../ingest/routes.ts';
import { measureRoutes } from '../measures.ts';
import { searchRoutes } from '../search/routes.ts';
import { serveRoutes, type Answer, type Bridge } from '../testing/bridge.ts';
import { traceRoutes } from '../traces/routes.ts';
import { TraceStore } from '../traces/store.ts';
import { loginRoutes } from './routes.ts';
import { IDLE_MS, LONGEST_MS, Sessions, type SessionLimits } from './sessions.ts';

const log = pino({ level: 'silent' });
const folder = mkdtempSync(join(tmpdir(), 'scalingnote-login-'));
const keyFile = join(folder, 'keys.json');
const keys = { search: makeKey(), metrics: makeKey() };
/** What a call came with, by its method. */
let calledBy: string[] = [];
let open: OpenAccess;
let query: RunningServer;
let metrics: ReturnType<typeof createServer>;
let metricsAddress = '';
const stops: (() => Promise<unknown>)[] = [];

before(async () => {
  // The key of the console itself: it may do everything, and nobody who logs in may get it.
  const all = makeKey();
  await changeKeyFile(keyFile, () =>
    [
      { ...keys.search, scopes: ['search', 'encode'] as const },
      { ...keys.metrics, scopes: ['metrics'] as const },
      { ...all, scopes: ['search', 'encode', 'ingest', 'delete', 'admin', 'metrics'] as const },
    ].map(({ id, text, scopes }) => ({
      id,
      name: '',
      sha256: hashOf(text).toString('hex'),
      scopes: [...scopes],
      tenants: ['*'],
      collections: ['*'],
      createdAt: new Date().toISOString(),
    })),
  );
  process.env['SCALINGNOTE_API_KEY'] = all.text;
  open = openAccess(Settings.parse({ keys: keyFile }), log);
  query = await startServer({
    host: '127.0.0.1',
    port: 0,
    portSetting: '--port',
    services: [
      service(v1.QueryService.service, {
        ...NOTHING,
        Describe: () => Promise.resolve({}),
        Encode: () => Promise.resolve({ embeddings: [{ values: [1, 0] }], queryTower: {} }),
      } as never),
    ],
    maxReceiveBytes: 1024 * 1024,
    log,
    access: open.access,
  });
  query.setServing(true);
  metrics = createServer((incoming, response) => {
    calledBy.push(String(incoming.headers.authorization));
    const { headers, socket } = incoming;
    Promise.resolve()
      .then(() =>
        open.access.arrive({ protocol: 'http', method: '/metrics.json', headers, socket, answer: response }),
      )
      .then(
        () => response.end('[]'),
        (error: Error) => response.writeHead(403).end(error.message),
      );
  });
  await new Promise<void>((resolve) => metrics.listen(0, '127.0.0.1', resolve));
  metricsAddress = `127.0.0.1:${(metrics.address() as AddressInfo).port}`;
});

after(async () => {
  delete process.env['SCALINGNOTE_API_KEY'];
  for (const stop of stops) await stop();
  await query.shutdown(0);
  metrics.closeAllConnections();
  metrics.close();
  open.close();
  rmSync(folder, { recursive: true });
});

function routesOf(isTls: boolean, times?: SessionLimits) {
  const addresses = { document: query.address, queries: [query.address] };
  const sessions = new Sessions(addresses, [metricsAddress], isTls, times);
  stops.push(() => sessions.close());
  const { deskOf } = sessions;
  const routes = [
    loginRoutes(sessions, addresses),
    searchRoutes(deskOf),
    ingestRoutes(deskOf),
    measureRoutes({ document: '', query: metricsAddress }, deskOf),
    traceRoutes(new TraceStore({ maxTraces: 10, maxBytes: 1e6 })),
  ];
  return { sessions, routes };
}

async function console(times?: SessionLimits): Promise<{ bridge: Bridge; sessions: Sessions }> {
  const { sessions, routes } = routesOf(false, times);
  const bridge = await serveRoutes(routes);
  stops.push(() => bridge.stop());
  return { bridge, sessions };
}

const reasonOf = ({ json }: Answer): string => (json as { error?: { reason: string } }).error?.reason ?? 'OK';

/** Logs in, and gives the cookie. */
async function logIn(bridge: Bridge, credential: string, cookie?: string): Promise<string> {
  const headers = cookie === undefined ? {} : { cookie };
  const answer = await bridge.ask('POST', '/api/session', { body: { credential }, headers });
  assert.equal(answer.status, 201, answer.text);
  assert.ok(!answer.text.includes(credential));
  const set = answer.headers['set-cookie']!.at(-1)!;
  assert.match(set, /^scalingnote=[\w-]{43}; Max-Age=43200; Path=\/; HttpOnly; SameSite=Strict$/);
  return set.split(';')[0]!;
}

const cosines = (bridge: Bridge, cookie?: string): Promise<Answer> =>
  bridge.ask('POST', '/api/cosines', {
    body: { text: 'bee', services: [query.address] },
    headers: cookie === undefined ? {} : { cookie },
  });

test('nothing of the API answers without a login', async () => {
  const { bridge } = await console();
  for (const [method, path] of [
    ['GET', '/api/ingests'],
    ['GET', '/api/measures'],
    ['GET', '/api/traces'],
    ['GET', '/api/traces/00000000000000000000000000000001'],
    ['POST', '/api/search'],
    ['POST', '/api/cosines'],
    ['DELETE', '/api/ingests/x'],
    ['GET', '/api/nothing'],
  ] as const) {
    const answer = await bridge.ask(method, path, method === 'POST' ? { body: {} } : {});
    assert.deepEqual([answer.status, reasonOf(answer)], [401, 'LOGIN_NEEDED'], path);
  }
  assert.equal(reasonOf(await cosines(bridge, `scalingnote=${'A'.repeat(43)}`)), 'LOGIN_NEEDED');
  assert.deepEqual((await bridge.ask('GET', '/api/session')).json, { needed: true, loggedIn: false });
});

test('a key that the services do not take does not log in, and is not repeated', async () => {
  const { bridge, sessions } = await console();
  const { text } = makeKey();
  for (const credential of [text, 'nonsense', '']) {
    const answer = await bridge.ask('POST', '/api/session', { body: { credential } });
    assert.equal(answer.status, credential === '' ? 400 : 401, answer.text);
    assert.ok(credential === '' || !answer.text.includes(credential));
    assert.equal(answer.headers['set-cookie'], undefined);
  }
  assert.equal(sessions.size, 0);
});

test('whoever is logged in does what their own key may, and not what the console may', async () => {
  const { bridge } = await console();
  const searcher = await logIn(bridge, keys.search.text);
  const answer = await cosines(bridge, searcher);
  assert.deepEqual((answer.json as { errors: unknown[] }).errors, [null], answer.text);
  const observer = await logIn(bridge, keys.metrics.text);
  const refused = (await cosines(bridge, observer)).json as { errors: string[] };
  assert.match(refused.errors[0]!, /needs the scope encode/);
  assert.equal(
    reasonOf(await bridge.ask('GET', '/api/traces', { headers: { cookie: searcher } })),
    'SCOPE_MISSING',
  );
  assert.equal(reasonOf(await bridge.ask('GET', '/api/traces', { headers: { cookie: observer } })), 'OK');
  calledBy = [];
  const measured = async (cookie: string): Promise<string | undefined> => {
    const { json } = await bridge.ask('GET', '/api/measures', { headers: { cookie } });
    return (json as { services: { problem?: string }[] }).services[1]!.problem;
  };
  assert.equal(await measured(observer), undefined);
  assert.match((await measured(searcher))!, /needs the scope metrics/);
  assert.deepEqual(calledBy, [`Bearer ${keys.metrics.text}`, `Bearer ${keys.search.text}`]);
});

test('a logout ends the session, and a login ends the one before', async () => {
  const { bridge, sessions } = await console();
  const first = await logIn(bridge, keys.search.text);
  const second = await logIn(bridge, keys.search.text, first);
  assert.notEqual(first, second);
  assert.equal(reasonOf(await cosines(bridge, first)), 'LOGIN_NEEDED');
  assert.equal(reasonOf(await cosines(bridge, second)), 'OK');
  const out = await bridge.ask('DELETE', '/api/session', { headers: { cookie: second } });
  assert.match(out.headers['set-cookie']![0]!, /^scalingnote=; Max-Age=0/);
  assert.equal(reasonOf(await cosines(bridge, second)), 'LOGIN_NEEDED');
  assert.equal(sessions.size, 0);
});

describe('a session ends', () => {
  /** A clock that a test moves on. */
  function clock({ mock }: TestContext): (ms: number) => void {
    const real = performance.now.bind(performance);
    let ahead = 0;
    mock.method(performance, 'now', () => real() + ahead);
    return (ms) => (ahead += ms);
  }

  test('when nobody does anything, though the page looks', async (context) => {
    const { bridge, sessions } = await console();
    const passes = clock(context);
    const cookie = await logIn(bridge, keys.search.text);
    const look = (): Promise<Answer> => bridge.ask('GET', '/api/ingests', { headers: { cookie } });
    passes(0.7 * IDLE_MS);
    assert.equal(reasonOf(await cosines(bridge, cookie)), 'OK');
    passes(0.7 * IDLE_MS);
    assert.equal(reasonOf(await look()), 'OK');
    passes(0.4 * IDLE_MS);
    assert.equal(reasonOf(await look()), 'LOGIN_NEEDED');
    assert.equal(sessions.size, 0);
  });

  test('after its longest time, whatever is done', async (context) => {
    const { bridge, sessions } = await console();
    const passes = clock(context);
    const cookie = await logIn(bridge, keys.search.text);
    for (let ms = 0; ms + 0.7 * IDLE_MS < LONGEST_MS; ms += 0.7 * IDLE_MS) {
      assert.equal(reasonOf(await cosines(bridge, cookie)), 'OK');
      passes(0.7 * IDLE_MS);
    }
    assert.equal(reasonOf(await cosines(bridge, cookie)), 'OK');
    passes(0.7 * IDLE_MS);
    assert.equal(reasonOf(await cosines(bridge, cookie)), 'LOGIN_NEEDED');
    assert.equal(sessions.size, 0);
  });

  test('when its key is revoked', async () => {
    const { bridge } = await console({ checkedMs: 50 });
    const doomed = makeKey();
    await changeKeyFile(keyFile, (all) => [
      ...all,
      { ...all[0]!, id: doomed.id, sha256: hashOf(doomed.text).toString('hex') },
    ]);
    let cookie: string | undefined;
    for (let tries = 0; tries < 100 && cookie === undefined; tries++) {
      await setTimeout(50);
      const { headers } = await bridge.ask('POST', '/api/session', { body: { credential: doomed.text } });
      cookie = headers['set-cookie']?.[0]!.split(';')[0];
    }
    assert.equal(reasonOf(await cosines(bridge, cookie)), 'OK');
    await changeKeyFile(keyFile, (all) =>
      all.map((key) => (key.id === doomed.id ? { ...key, revokedAt: new Date().toISOString() } : key)),
    );
    let reason = 'OK';
    for (let tries = 0; tries < 100 && reason === 'OK'; tries++) {
      await setTimeout(50);
      reason = reasonOf(await cosines(bridge, cookie));
    }
    assert.equal(reason, 'LOGIN_NEEDED');
  });

  test('when there are too many, the one that was idle for the longest', async () => {
    const { bridge, sessions } = await console({ maxSessions: 3 });
    const first = await logIn(bridge, keys.search.text);
    const second = await logIn(bridge, keys.search.text);
    await cosines(bridge, first);
    for (let index = 0; index < 2; index++) await logIn(bridge, keys.search.text);
    assert.equal(sessions.size, 3);
    assert.equal(reasonOf(await cosines(bridge, first)), 'OK');
    assert.equal(reasonOf(await cosines(bridge, second)), 'LOGIN_NEEDED');
  });
});

test('a page of another site can neither log in nor use a login', async () => {
  const { bridge } = await console();
  const cookie = await logIn(bridge, keys.search.text);
  for (const headers of [
    { cookie, origin: 'https://evil.example' },
    { cookie, 'sec-fetch-site': 'cross-site' },
    { cookie, host: 'evil.example' },
  ]) {
    const login = await bridge.ask('POST', '/api/session', {
      body: { credential: keys.search.text },
      headers,
    });
    assert.ok([403, 421].includes(login.status), login.text);
    const { status } = await bridge.ask('GET', '/api/ingests', { headers });
    assert.ok([403, 421].includes(status));
  }
  const form = await bridge.ask('POST', '/api/session', {
    body: Buffer.from('{"credential":"x"}'),
    headers: { 'content-type': 'text/plain' },
  });
  assert.equal(form.status, 415);
});

describe('over TLS', () => {
  let server: RunningHttpServer;
  let tls: Tls;
  let ca = '';
  before(async () => {
    const authority = await Authority.make(1);
    const { certificate, key } = await authority.issue({ server: ['localhost', 'console.example'] });
    ca = authority.identity.certificate;
    const [cert, own] = [join(folder, 'server.pem'), join(folder, 'server.key')];
    writeFileSync(cert, certificate);
    writeFileSync(own, key);
    const config = { tlsCert: [cert], tlsKey: [own], plaintext: false };
    tls = openTls(config, ['127.0.0.1'], ['http/1.1'], log)!;
    const { routes } = routesOf(true);
    const options = { host: '127.0.0.1', port: 0, portSetting: '--port', names: ['console.example'] };
    server = await startHttpServer({ ...options, routes, log, tls });
  });
  after(async () => {
    await server.shutdown(0);
    tls.close();
  });

  const ask = (
    host: string,
    body?: object,
  ): Promise<{ status: number; headers: NodeJS.Dict<string | string[]> }> =>
    new Promise((resolve, reject) => {
      const call = request(
        `https://${server.address}/api/session`,
        {
          ca,
          servername: host,
          agent: false,
          method: body ? 'POST' : 'GET',
          headers: { host, 'content-type': 'application/json' },
        },
        ({ statusCode = 0, headers, ...response }) => {
          void response;
          resolve({ status: statusCode, headers });
        },
      );
      call.on('error', reject);
      call.end(body && JSON.stringify(body));
    });

  test('the cookie is for TLS alone, and for this host', async () => {
    const { status, headers } = await ask('console.example', { credential: keys.search.text });
    assert.equal(status, 201);
    assert.match(
      headers['set-cookie']![0]!,
      /^__Host-scalingnote=[\w-]{43}; Max-Age=43200; Path=\/; HttpOnly; Secure; SameSite=Strict$/,
    );
  });

  test('browsers are told to come by TLS alone, but for names that a machine’s programs share', async () => {
    const named = await ask('console.example');
    assert.equal(named.headers['strict-transport-security'], 'max-age=31536000');
    const local = await ask('localhost');
    assert.deepEqual([local.status, local.headers['strict-transport-security']], [200, undefined]);
  });
});
