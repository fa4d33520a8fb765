import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import * as fc from 'fast-check';
import { request } from 'undici';
import { fetchOpenApi, type OpenApiDocument } from '../runtime/testing/openapi.ts';
import { startQuery, type QueryHarness } from './testing/harness.ts';

/** What stands beside the body of a request, and what must not be passed over there. */

let harness: QueryHarness;
let document: OpenApiDocument;

before(async () => {
  harness = await startQuery();
  await harness.store.fill('docs', ['stars']);
  document = await fetchOpenApi(harness.server.address);
});
after(() => harness.stop());

interface Asked {
  verb?: 'GET' | 'POST';
  headers?: Record<string, string>;
  body?: string;
}

async function ask(path: string, { verb = 'POST', headers = {}, body }: Asked = {}) {
  const answer = await request(`http://${harness.server.address}${path}`, {
    method: verb,
    headers: { ...(verb === 'POST' && { 'content-type': 'application/json' }), ...headers },
    ...(body !== undefined && { body }),
  });
  const { message = '' } = (await answer.body.json()) as { message?: string };
  return { http: answer.statusCode, message };
}

const SEARCH = '{"query":"stars"}';
const SEARCH_BY_GET = `/scalingnote.v1.QueryService/Search?encoding=json&message=${encodeURIComponent(SEARCH)}`;

const addresses = (verb: string): string[] =>
  Object.entries(document.paths).flatMap(([path, item]) => (verb in item ? [path] : []));

test('no address takes a parameter that it does not know', async () => {
  const paths = [...addresses('get'), ...addresses('post'), '/openapi.json', '/healthz'];
  const name = fc.stringMatching(/^[a-zA-Z][\w.-]{0,12}$/).filter((each) => each !== 'session');
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...paths), name, fc.string(), async (path, key, value) => {
      const isRead = !addresses('post').includes(path);
      const query = `${encodeURIComponent(key)}=${encodeURIComponent(value.toWellFormed())}`;
      const asked = isRead ? ({ verb: 'GET' } as const) : { body: '{}' };
      const { http } = await ask(`${path}?${query}`, asked);
      assert.ok(http >= 400 && http < 500, `${path}?${query}: ${http}`);
    }),
    { seed: 17, numRuns: 200 },
  );
});

test('a call by GET takes its own parameters, each once, and no others', async () => {
  assert.equal((await ask(SEARCH_BY_GET, { verb: 'GET' })).http, 200);
  const key = fc.oneof(
    fc.constantFrom('limit', 'query', 'Message', 'message', 'encoding', 'timeout'),
    fc.stringMatching(/^[a-z]{1,8}$/),
  );
  await fc.assert(
    fc.asyncProperty(key, fc.constantFrom('', '1', 'json', 'true'), async (name, value) => {
      if (['connect', 'base64', 'compression'].includes(name)) return;
      const { http, message } = await ask(`${SEARCH_BY_GET}&${name}=${value}`, { verb: 'GET' });
      assert.equal(http, 400);
      assert.ok(message.startsWith(name), message);
    }),
    { seed: 17, numRuns: 60 },
  );
});

test('a GET with a body is refused, for nobody reads it', async () => {
  for (const path of ['/v1/describe', SEARCH_BY_GET, '/openapi.json']) {
    assert.equal((await ask(path, { verb: 'GET' })).http, 200, path);
    const { http, message } = await ask(path, { verb: 'GET', body: '{"limit":1}' });
    assert.deepEqual([http, message.startsWith('GET has a body')], [400, true], `${path}: ${message}`);
  }
});

test('a deadline in the header of another protocol is refused, not forgotten', async () => {
  for (const path of ['/v1/search', '/scalingnote.v1.QueryService/Search']) {
    const { http, message } = await ask(path, { headers: { 'grpc-timeout': '5S' }, body: SEARCH });
    assert.deepEqual([http, message.split(':')[0]], [400, 'grpc-timeout']);
    for (const given of ['', '1.5', '-1', '0x5', '1e3', '99999999999', '5, 6']) {
      const bad = await ask(path, { headers: { 'connect-timeout-ms': given }, body: SEARCH });
      assert.deepEqual([bad.http, bad.message.split(':')[0]], [400, 'connect-timeout-ms'], given);
    }
  }
  const web = await request(`http://${harness.server.address}/scalingnote.v1.QueryService/Search`, {
    method: 'POST',
    headers: { 'content-type': 'application/grpc-web+json', 'connect-timeout-ms': '500' },
    body: Buffer.concat([Buffer.from([0, 0, 0, 0, SEARCH.length]), Buffer.from(SEARCH)]),
  });
  assert.match(await web.body.text(), /grpc-status: 3\r\n[^]*connect-timeout-ms: is of Connect/);
});
