import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { once } from 'node:events';
import { after, test } from 'node:test';
import { request } from 'undici';
import { callUnary, serve, type Harness } from '../testing/harness.ts';
import { MAX_BODY_BYTES_IN_ALL } from './exchange.ts';

const started: Harness[] = [];
const start = async (...parts: Parameters<typeof serve>): Promise<Harness> => {
  const harness = await serve(...parts);
  started.push(harness);
  return harness;
};
after(() => Promise.all(started.map(({ stop }) => stop())));

const CONNECT = '/scalingnote.v1.QueryService/Search';
const HITS = { hits: [{ documentId: 'd', score: 0.5 }] };

async function ask(
  harness: Harness,
  path: string,
  body: unknown,
  options: { headers?: Record<string, string>; method?: 'GET' | 'POST' | 'OPTIONS' | 'PUT' } = {},
) {
  const method = options.method ?? 'POST';
  const answer = await request(`http://${harness.server.address}${path}`, {
    method,
    headers: { 'content-type': 'application/json', ...options.headers },
    ...(method === 'POST' && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await answer.body.text();
  const json = (text === '' ? {} : JSON.parse(text)) as {
    code?: string;
    message?: string;
    details?: { type: string; value: string }[];
    hits?: { documentId: string; score: number }[];
  };
  return { status: answer.statusCode, headers: answer.headers, ...json };
}

test('JSON and gRPC reach one handler with one request, at one port', async () => {
  const seen: object[] = [];
  const harness = await start({ Search: async (message) => (seen.push(message), HITS) });
  const fields = {
    collection: 'c',
    query: 'q',
    limit: 3,
    filter: { must: [{ equals: { field: 'a', value: { stringValue: 'x' } } }] },
  };
  const overGrpc = await callUnary<{ hits: { documentId: string }[] }>(harness.client, 'Search', fields);
  const json = {
    collection: 'c',
    query: 'q',
    limit: 3,
    filter: { must: [{ equals: { field: 'a', value: 'x' } }] },
  };
  for (const path of [CONNECT, '/v1/search']) {
    const answer = await ask(harness, path, json);
    assert.equal(answer.status, 200, answer.message);
    assert.equal(answer.hits?.[0]?.documentId, overGrpc.hits[0]?.documentId);
    assert.equal(answer.hits?.[0]?.score, 0.5);
  }
  assert.equal(seen.length, 3);
  assert.deepEqual(seen[1], seen[0]);
  assert.deepEqual(seen[2], seen[0]);
});

test('what is wrong with a request is refused by name', async () => {
  const harness = await start({ Search: async () => HITS }, { maxReceiveBytes: 1000 });
  const cases: [string, unknown, Parameters<typeof ask>[3], number, string, RegExp][] = [
    [CONNECT, { quary: 'q' }, {}, 400, 'invalid_argument', /quary.*did you mean query\?/],
    [CONNECT, { filter: { musst: [] } }, {}, 400, 'invalid_argument', /filter\.musst.*did you mean must\?/],
    [CONNECT, { scoreThreshold: 1, score_threshold: 1 }, {}, 400, 'invalid_argument', /given twice/],
    [CONNECT, { scoreThreshold: 'NaN' }, {}, 400, 'invalid_argument', /scoreThreshold.*finite/],
    [CONNECT, { limit: 'many' }, {}, 400, 'invalid_argument', /limit/],
    [CONNECT, { query: '\ud800' }, {}, 400, 'invalid_argument', /query.*surrogate/],
    [CONNECT, '{"limit":1,"limit":2}', {}, 400, 'invalid_argument', /"limit" twice/],
    [CONNECT, '{', {}, 400, 'invalid_argument', /not JSON/],
    [CONNECT, '['.repeat(400), {}, 400, 'invalid_argument', /JSON/],
    [CONNECT, { query: 'x'.repeat(2000) }, {}, 413, 'resource_exhausted', /1000 bytes/],
    [
      '/v1/search',
      {},
      { headers: { 'content-type': 'text/plain' } },
      415,
      'invalid_argument',
      /application\/json/,
    ],
    [CONNECT, {}, { headers: { 'content-encoding': 'zip' } }, 415, 'unimplemented', /zip.*gzip, br/],
    [CONNECT, {}, { headers: { 'connect-timeout-ms': 'soon' } }, 400, 'invalid_argument', /milliseconds/],
    ['/v1/search', {}, { method: 'PUT' }, 405, 'unimplemented', /use POST/],
    ['/v1/serch', {}, {}, 404, 'unimplemented', /\/v1\/search/],
    ['/scalingnote.v1.QueryService/SearchStream', {}, {}, 415, 'invalid_argument', /connect\+json/],
    [CONNECT, {}, { headers: { origin: 'https://a.example' } }, 403, 'permission_denied', /cors-origins/],
  ];
  for (const [path, body, options, http, code, message] of cases) {
    const answer = await ask(harness, path, body, options);
    const what = JSON.stringify([path, options, answer.message]);
    assert.equal(answer.status, http, what);
    assert.equal(answer.code, code, what);
    assert.match(answer.message ?? '', message);
    assert.equal(answer.details?.[0]?.type, 'google.rpc.ErrorInfo');
  }
});

test('another verb at the address of a method speaks no protocol, and is told so in plain text', async () => {
  const harness = await start({ Search: async () => HITS });
  const answer = await request(`http://${harness.server.address}${CONNECT}`, { method: 'PUT' });
  assert.equal(answer.statusCode, 405);
  assert.equal(answer.headers.allow, 'GET, POST');
  assert.match(await answer.body.text(), /^PUT does not work at .*; use GET, POST\n$/);
});

test('a deadline ends the call', async () => {
  let aborted = false;
  const Search = (_: object, { signal }: { signal: AbortSignal }): Promise<never> =>
    new Promise((_resolve, reject) =>
      signal.addEventListener('abort', () => {
        aborted = true;
        reject(signal.reason as Error);
      }),
    );
  const harness = await start({ Search });
  const answer = await ask(harness, CONNECT, {}, { headers: { 'connect-timeout-ms': '50' } });
  assert.equal(answer.status, 504);
  assert.equal(answer.code, 'deadline_exceeded');
  assert.ok(aborted);
});

test('pages of the origins in the setting may call, and no others', async () => {
  const harness = await start({ Search: async () => HITS }, { corsOrigins: ['https://a.example'] });
  const good = { origin: 'https://a.example' };
  const preflight = await ask(harness, CONNECT, {}, { method: 'OPTIONS', headers: good });
  assert.equal(preflight.status, 204);
  assert.equal(preflight.headers['access-control-allow-methods'], 'GET, POST');
  const answer = await ask(harness, CONNECT, {}, { headers: good });
  assert.equal(answer.headers['access-control-allow-origin'], 'https://a.example');
  const bad = await ask(
    harness,
    CONNECT,
    {},
    { method: 'OPTIONS', headers: { origin: 'https://b.example' } },
  );
  assert.equal(bad.status, 403);
  assert.equal(bad.headers['access-control-allow-origin'], undefined);
});

test('silent and slow connections are ended, and gRPC lives on', async () => {
  const harness = await start({ Search: async () => HITS }, { headTimeoutMs: 100 });
  const port = Number(harness.server.address.split(':').pop());
  for (const text of ['', 'PRI * HT', 'POST /v1/search HT']) {
    const socket = connect(port, '127.0.0.1');
    socket.write(text);
    await once(socket.resume(), 'close');
  }
  assert.ok(await callUnary(harness.client, 'Search', {}));
});

test('a shutdown ends connections of both kinds', async () => {
  const harness = await start({ Search: async () => HITS });
  await callUnary(harness.client, 'Search', {});
  const port = Number(harness.server.address.split(':').pop());
  const waiting = connect(port, '127.0.0.1');
  await once(waiting, 'connect');
  const ended = once(waiting.resume(), 'close');
  await harness.server.shutdown(1000);
  await ended;
  await assert.rejects(ask(harness, CONNECT, {}), /ECONNREFUSED/);
});

test('the trace of the caller reaches the handler', async () => {
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  let carried: unknown[] = [];
  const harness = await start({
    Search: async (_, { metadata }) => {
      carried = metadata.get('traceparent');
      return HITS;
    },
  });
  const { status } = await ask(
    harness,
    CONNECT,
    { collection: 'c', query: 'q' },
    { headers: { traceparent } },
  );
  assert.equal(status, 200);
  assert.deepEqual(carried, [traceparent]);
});

test('bodies that come at the same time are bounded together, and give way', async () => {
  const size = 16 * 1024 * 1024;
  const harness = await start({ Search: async () => HITS }, { maxReceiveBytes: size });
  const [host, port] = harness.server.address.split(':');
  const count = MAX_BODY_BYTES_IN_ALL / size;
  const senders = Array.from({ length: count }, () => {
    const socket = connect(Number(port), host);
    socket.on('error', () => {});
    socket.write(
      `POST ${CONNECT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${size}\r\n\r\n`,
    );
    socket.write(Buffer.alloc(size - 1, ' '));
    return socket;
  });
  const outcome = async (): Promise<number> =>
    (await ask(harness, CONNECT, { collection: 'c', query: 'q' })).status;
  while ((await outcome()) !== 429);
  for (const socket of senders) socket.destroy();
  while ((await outcome()) !== 200);
});
