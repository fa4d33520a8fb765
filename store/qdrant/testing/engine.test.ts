import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { request as send } from 'undici';
import { optionalTool } from '../../../test/testing/optional-tool.ts';
import { useEngine } from './engine.ts';

/** Recorded exchanges with a real server, in a folder beside the project if there are any. */
const RECORDINGS = new URL('../../../../../shared/qdrant/exchanges.json', import.meta.url);

interface Exchange {
  name: string;
  request: {
    method: string;
    path: string;
    headers?: Record<string, string>;
    body?: unknown;
    rawBody?: string;
  };
  response: { status: number; body: unknown };
}

const server = useEngine(optionalTool('qdrant-engine'));

/**
 * Requests that the store never sends: the front rejects each, names the unknown request or field, and
 * changes nothing.
 */
const REFUSED = new Set([
  'ready',
  'healthy',
  'live',
  'collection exists',
  'collection does not exist',
  'query, is_empty and datetime range',
  'query, score threshold and offset',
  'query grouped by document',
  'query batch',
  'query, unknown field in the request',
  'set payload',
  'delete stale passages by filter',
  'delete by id',
  'delete an id that is not there',
  'batch update',
  'aliases of a collection',
  'hybrid query, reciprocal rank fusion',
  'hybrid query, weighted rrf',
  'hybrid query, distribution-based score fusion',
  'create strict collection',
  'cluster, single node',
  'cluster of a collection',
]);

/** What follows from what is refused, or is of a server that asks for keys. */
const LEFT_OUT = new Set([
  'version',
  'describe an alias',
  'strict mode, limit over the maximum',
  'strict mode, filter on a field without index',
  'strict mode, batch over the maximum',
  'strict mode, read rate, call 1',
  'strict mode, read rate, call 2',
  'strict mode, read rate, call 3',
  'strict mode, read rate, call 4',
  'no key',
]);

/** Values that differ between servers: times, numbers of operations, and how the points are spread. */
const OWN = new Set(['time', 'operation_id', 'version', 'segments_count', 'payload_schema']);

function comparable(value: unknown): unknown {
  if (typeof value === 'number') return Number(value.toFixed(5));
  // A parser's message about wrong JSON.
  if (typeof value === 'string') {
    return value.replace(/(Format error in JSON body|Deserialize error in query parameters): .*/, '$1');
  }
  if (Array.isArray(value)) return value.filter((one) => !isBroken(one)).map(comparable);
  if (typeof value !== 'object' || value === null) return value;
  const kept = Object.entries(value).filter(([key]) => !OWN.has(key));
  return Object.fromEntries(kept.map(([key, one]) => [key, comparable(one)]));
}

/**
 * A point whose score is not a number: the server puts it first; the engine, which is newer, puts it last.
 */
function isBroken(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'score' in value && value.score === null;
}

/** The parts of `value` that `like` has too. */
function within(value: unknown, like: unknown): unknown {
  if (typeof value !== 'object' || value === null || typeof like !== 'object' || like === null) return value;
  if (Array.isArray(value)) return value.slice(0, Object.keys(like).length);
  const shared = Object.entries(value).filter(([key]) => key in like);
  return Object.fromEntries(shared.map(([key, one]) => [key, within(one, like[key as keyof typeof like])]));
}

async function ask(method: string, path: string, body?: unknown): Promise<{ status: number; body: unknown }> {
  const answer = await send(server.url + path, {
    method: method as 'POST',
    body: body === undefined ? null : typeof body === 'string' ? body : JSON.stringify(body),
  });
  const text = await answer.body.text();
  return { status: answer.statusCode, body: text === '' ? '' : JSON.parse(text) };
}

describe('the engine behind its front', { skip: server.skip }, () => {
  const skip = !existsSync(RECORDINGS) && 'there are no recordings (../shared/qdrant/exchanges.json)';
  it('answers as the recorded server did', { skip }, async () => {
    const { exchanges } = JSON.parse(readFileSync(RECORDINGS, 'utf8')) as { exchanges: Exchange[] };
    let alike = 0;
    for (const { name, request, response } of exchanges) {
      if (LEFT_OUT.has(name) || request.headers) continue;
      const { status, body } = await ask(request.method, request.path, request.rawBody ?? request.body);
      if (REFUSED.has(name)) {
        assert.ok(status === 400 || status === 404, `${name}: ${status}`);
        continue;
      }
      assert.equal(status, response.status, `${name}: ${JSON.stringify(body)}`);
      const expected = comparable(response.body);
      const got = comparable(body);
      // No caller reads the whole description of a collection, and without a broken point an answer has room
      // for another.
      if (request.method === 'GET') assert.deepEqual(got, within(expected, got), name);
      else if (request.path.endsWith('/query')) assert.deepEqual(within(got, expected), expected, name);
      else assert.deepEqual(got, expected, name);
      alike++;
    }
    assert.equal(alike, 68);
  });

  const collection = { vectors: { size: 4, distance: 'Cosine' } };
  const wrong: [string, string, unknown][] = [
    ['GET', '/collections?x=1', undefined],
    ['GET', '/collections', '{}'],
    ['PUT', '/collections/new', { ...collection, vektors: {} }],
    ['PUT', '/collections/new', { ...collection, hnsw_config: { m: 16, payload_n: 1 } }],
    ['POST', '/collections/c/points/count', { filter: { must: [{ key: 'x', match: { except: ['a'] } }] } }],
    ['POST', '/collections/c/points/count', { filter: { must: [{ key: 'x', match: { value: 1.5 } }] } }],
    ['POST', '/collections/c/points/count', { filter: { must: [{ key: 'x', range: { geq: 1 } }] } }],
    ['POST', '/collections/c/points/count', { filter: { must: [{ kee: 'x' }] } }],
    ['POST', '/collections/c/points/count', { filter: { musst: [] } }],
    ['POST', '/collections/c/points/scroll?wait=true', { limit: 1 }],
    ['POST', '/collections/c/points/scroll', { limit: 1, order_by: 'x' }],
    ['POST', '/collections/c/points/query', { query: [1, 0, 0, 0], group_by: 'x' }],
    ['PUT', '/collections/c/points?wait=yes', { points: [{ id: 1, vector: [1, 0, 0, 0] }] }],
    ['PUT', '/collections/c/points', { points: [{ id: 1, vector: [1, 0, 0, 0] }], update_mode: 'insert' }],
    ['POST', '/collections/c/points/batch', { operations: [{ clear_payload: { filter: {} } }] }],
  ];
  it('refuses what it does not know, and names it', async () => {
    await ask('PUT', '/collections/c', collection);
    for (const [method, path, body] of wrong) {
      const got = await ask(method, path, body);
      const what = `${method} ${path} ${JSON.stringify(body)}: ${JSON.stringify(got.body)}`;
      assert.equal(got.status, 400, what);
      assert.match(what, /unknown (field|parameter)|invalid|takes no body/, what);
    }
    assert.deepEqual(await ask('GET', '/collections/new'), await missing('new'));
  });

  it('shows what nobody waited for after the next change that somebody waits for', async () => {
    await ask('PUT', '/collections/w', collection);
    const points = [{ id: 1, vector: [1, 0, 0, 0] }];
    const count = async () => (await ask('POST', '/collections/w/points/count', {})).body;
    await ask('PUT', '/collections/w/points?wait=false', { points });
    assert.deepEqual(await count(), { result: { count: 0 }, status: 'ok', time: 0 });
    await ask('POST', '/collections/w/points/batch?wait=true', {
      operations: [{ set_payload: { payload: { x: true }, filter: {} } }],
    });
    const seen = await ask('POST', '/collections/w/points/count', {
      filter: { must: [{ key: 'x', match: { value: true } }] },
    });
    assert.deepEqual(seen.body, { result: { count: 1 }, status: 'ok', time: 0 });
  });
});

function missing(name: string): Promise<{ status: number; body: unknown }> {
  const error = `Not found: Collection \`${name}\` doesn't exist!`;
  return Promise.resolve({ status: 404, body: { status: { error }, time: 0 } });
}
