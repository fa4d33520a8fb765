import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, beforeEach, describe, test } from 'node:test';
import { messageSchema } from '../clients/strict/schema.ts';
import { type SearchRequest, WebClient } from '../clients/web/client.ts';
import { MESSAGES } from '../clients/web/contract.ts';
import { WebError } from '../clients/web/errors.ts';
import { loadTower } from '../clients/web/tower.ts';
import { startGuarded } from '../services/console/testing/guarded.ts';
import { until } from '../services/runtime/testing/harness.ts';

/** `@scalingnote/web`'s client against a server that answers as each test says. */

const REQUEST = { collection: 'docs', query: 'stars' };

type Answer = (
  request: { body: string; headers: IncomingMessage['headers'] },
  response: ServerResponse,
) => void;

const asked: { url: string; body: Record<string, unknown>; headers: IncomingMessage['headers'] }[] = [];
let gone = 0;
let answer: Answer;
let client: WebClient;

const server = createServer((request, response) => {
  let body = '';
  response.on('close', () => (gone += response.writableFinished ? 0 : 1));
  request.on('data', (chunk) => (body += String(chunk)));
  request.on('end', () => {
    asked.push({
      url: request.url!,
      body: JSON.parse(body) as Record<string, unknown>,
      headers: request.headers,
    });
    answer({ body, headers: request.headers }, response);
  });
});

before(async () => {
  await once(server.listen(0, '127.0.0.1'), 'listening');
});

after(() => {
  server.closeAllConnections();
  server.close();
});

beforeEach(() => {
  asked.length = 0;
  gone = 0;
  answer = (_, response) => response.end('{"hits":[{"documentId":"d"}]}');
  client = new WebClient(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
});

async function refused(call: Promise<unknown>, code: string, message: RegExp): Promise<WebError> {
  const error: unknown = await call.then(
    () => assert.fail('the call went through'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof WebError, String(error));
  assert.equal(error.code, code, error.message);
  assert.match(error.message, message);
  return error;
}

const failing = (code: string, status: number, details: object[] = []): Answer => {
  return (_, response) => response.writeHead(status).end(JSON.stringify({ code, message: 'no', details }));
};

/** `google.rpc.RetryInfo` of so many seconds. */
const retryIn = (seconds: number): object => ({
  type: 'google.rpc.RetryInfo',
  value: Buffer.from([10, 2, 8, seconds]).toString('base64'),
});

describe('a credential', () => {
  const base = (): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  test('goes with each call, and what gives one is asked each time', async () => {
    let times = 0;
    for (const credential of ['sn_key', () => `token${++times}`, () => Promise.resolve(`token${++times}`)]) {
      const own = new WebClient(base(), { credential });
      for (let call = 0; call < 2; call++) await own.search(REQUEST);
    }
    await client.search(REQUEST);
    assert.deepEqual(
      asked.map(({ headers }) => headers.authorization),
      ['sn_key', 'sn_key', 'token1', 'token2', 'token3', 'token4']
        .map((each): string | undefined => `Bearer ${each}`)
        .concat(undefined),
    );
  });

  test('is what a service with keys asks for', async () => {
    const guarded = await startGuarded();
    const service = `http://${guarded.address}`;
    const reasonOf = async (credential?: string): Promise<string> => {
      const own = new WebClient(service, credential === undefined ? {} : { credential });
      const error: unknown = await own.search(REQUEST).catch((caught: unknown) => caught);
      return error instanceof WebError ? error.reason : 'OK';
    };
    assert.equal(await reasonOf(), 'CREDENTIAL_MISSING');
    assert.equal(await reasonOf('sn_small'), 'CREDENTIAL_INVALID');
    assert.equal(await reasonOf(guarded.key), 'OK');
    await guarded.stop();
  });

  test('that can’t be sent is refused, and not repeated', async () => {
    for (const credential of ['', 'two words', 'ключ', 7, null]) {
      assert.throws(() => new WebClient(base(), { credential } as object), /^WebError: credential:/);
    }
    assert.throws(
      () => new WebClient('http://search.example', { credential: 'secret' }),
      (error: Error) => /everybody on the way/.test(error.message) && !error.message.includes('secret'),
    );
    assert.throws(() => new WebClient(base(), { token: 'x' } as object), /token: is no option/);
    await refused(
      new WebClient(base(), { credential: () => 'a\nb' }).search(REQUEST),
      'invalid_argument',
      /^credential: must be characters/,
    );
    await assert.rejects(
      loadTower('http://search.example', { space: 'sp1_0', credential: 'secret' }),
      /everybody on the way/,
    );
    assert.equal(asked.length, 0);
  });
});

describe('requests', () => {
  test('have the fields of the contract, in each message', () => {
    for (const [name, fields] of Object.entries(MESSAGES)) {
      const schema = messageSchema(`scalingnote.v1.${name}`);
      assert.deepEqual(Object.keys(fields), [...schema.fields.keys()], name);
    }
    assert.ok(MESSAGES['SearchRequest'] && MESSAGES['Filter']);
  });

  const wrong: [what: string, change: object, message: RegExp][] = [
    ['a slip', { treshold: 1 }, /^treshold: is no field that is known here; known are collection, /],
    ['a slip in a filter', { filter: { musst: [] } }, /^filter\.musst: is no field .* must, should, mustNot/],
    [
      'a slip in a condition',
      { filter: { must: [{ field: 'a', equal: 1 }] } },
      /^filter\.must\[0\]\.equal: is no test/,
    ],
    [
      'two tests',
      { filter: { must: [{ field: 'a', equals: 1, exists: true }] } },
      /^filter\.must\[0\]: must have exactly one/,
    ],
    ['no test', { filter: { must: [{}] } }, /^filter\.must\[0\]: must have exactly one of equals, anyOf/],
    [
      'exists: false',
      { filter: { must: [{ field: 'a', exists: false }] } },
      /exists: is false; give true.* mustNot/,
    ],
    [
      'a bound that is none',
      { filter: { must: [{ field: 'a', range: { gte: 1, lessThan: 2 } }] } },
      /range\.lessThan: is no bound/,
    ],
    [
      'an object to compare with',
      { filter: { must: [{ field: 'a', equals: {} }] } },
      /equals\.value: must be a string, a finite/,
    ],
    ['a filter in itself', { filter: cyclic() }, /is nested deeper than 64 levels, or holds itself/],
    ['both spellings', { scoreThreshold: 1, score_threshold: 0 }, /^score_threshold: is given twice/],
    ['null', { tenant: null }, /^tenant: is null; give a value, or leave it out/],
    ['NaN', { scoreThreshold: Number.NaN }, /^scoreThreshold: must be a finite number, but is NaN/],
    [
      'a text for a number',
      { limit: '5' },
      /^limit: must be a whole number from 0 to 4294967295, but is "5"/,
    ],
    ['a negative number', { limit: -1 }, /^limit: must be a whole number/],
    ['another mode', { mode: 'fuzzy' }, /^mode: is "fuzzy"; give dense, sparse, hybrid/],
    ['no query', { query: undefined }, /^query: is missing/],
    ['a query that is none', { query: 5 }, /^query: must be a string, but is 5/],
  ];
  for (const [what, change, message] of wrong) {
    test(`${what}: refused by name before anything is sent`, async () => {
      const request = { ...REQUEST, ...change } as SearchRequest;
      const { violations, reason } = await refused(client.search(request), 'invalid_argument', message);
      assert.equal(reason, 'INVALID_ARGUMENT');
      assert.equal(violations.length, 1);
      assert.equal(asked.length, 0);
    });
  }

  test('say what they mean: short conditions in full, both spellings, both names of a mode', async () => {
    const must = [
      { field: 'metadata.a', equals: 'x' },
      { field: 'metadata.a', any_of: [1, 2] },
      { field: 'metadata.a', range: { gte: 1 } },
      { field: 'metadata.a', exists: true },
      { equals: { field: 'metadata.a', value: true } },
    ];
    await client.search({ ...REQUEST, filter: { must_not: must }, mode: 'hybrid', omit_text: true } as never);
    await client.search({ ...REQUEST, mode: 'SEARCH_MODE_SPARSE', tenant: undefined } as never);
    const [first, second] = asked.map(({ body }) => body);
    const field = 'metadata.a';
    assert.deepEqual(first, {
      ...REQUEST,
      filter: {
        mustNot: [
          { equals: { field, value: 'x' } },
          { anyOf: { field, values: [1, 2] } },
          { range: { field, gte: 1 } },
          { exists: { field } },
          { equals: { field, value: true } },
        ],
      },
      mode: 'SEARCH_MODE_HYBRID',
      omitText: true,
    });
    assert.deepEqual(second, { ...REQUEST, mode: 'SEARCH_MODE_SPARSE' });
  });

  test('by vector never have the text, and their numbers are finite', async () => {
    const search = { collection: 'docs' };
    const space = 'sp1_0';
    const good = { search, space, vector: Float32Array.of(0.5, 1) };
    await client.searchByVector(good);
    assert.deepEqual(asked[0]!.body, { search, space, vector: [0.5, 1] });
    assert.match(asked[0]!.url, /QueryService\/SearchByVector$/);
    asked.length = 0;
    for (const [change, message] of [
      [{ search: { ...search, query: 'x' } }, /^search\.query: is given beside a vector/],
      [{ vector: [0, Number.NaN] }, /^vector\[1\]: must be a finite number, but is NaN/],
      [{ vector: 'x' }, /^vector: must be a list/],
      [{ space: undefined }, /^space: is missing/],
      [{ query: 'x' }, /^query: is no field/],
    ] as const) {
      const request = { ...good, ...change } as never;
      await refused(client.searchByVector(request), 'invalid_argument', message);
    }
    assert.equal(asked.length, 0);
  });
});

function cyclic(): object {
  const filter: { must: object[] } = { must: [] };
  filter.must.push({ filter });
  return filter;
}

test('options and addresses that can not be followed are refused by name', async () => {
  for (const [options, message] of [
    [{ timeoutMs: Number.NaN }, /^timeoutMs: is NaN/],
    [{ timeoutMs: 0 }, /^timeoutMs: is 0/],
    [{ timeoutMs: '500' }, /^timeoutMs: is "500"/],
    [{ timeoutMs: 25 * 86_400_000 }, /^timeoutMs: is 2160000000/],
    [{ timeout: 5 }, /^timeout: is no option that is known here; known are timeoutMs, signal/],
    [{ signal: {} }, /^signal: is an object; give an AbortSignal/],
  ] as const) {
    await refused(client.search(REQUEST, options as never), 'invalid_argument', message);
  }
  assert.equal(asked.length, 0);
  for (const base of ['', 'search.example.org', 'ftp://a', 'http://a?b', undefined]) {
    assert.throws(
      () => new WebClient(base as string),
      /^WebError: base: is .*; give the address of the service/,
    );
  }
});

describe('a call', () => {
  test('is made again where the service is away for a while', async () => {
    answer = (_, response) => {
      if (asked.length === 1) response.destroy();
      else if (asked.length === 2) failing('unavailable', 503)(undefined as never, response);
      else if (asked.length === 3) response.writeHead(502).end('<html>');
      else response.end('{"hits":[{"documentId":"d"}]}');
    };
    const { hits } = await client.search(REQUEST);
    assert.deepEqual([hits, asked.length], [[{ documentId: 'd' }], 4]);
  });

  test('is made again where an overloaded service says when, and not where it does not', async () => {
    answer = (_, response) =>
      asked.length === 1
        ? failing('resource_exhausted', 429, [retryIn(0)])(undefined as never, response)
        : response.end('{}');
    assert.deepEqual((await client.search(REQUEST)).hits, []);
    assert.equal(asked.length, 2);
    answer = failing('resource_exhausted', 429);
    await refused(client.search(REQUEST), 'resource_exhausted', /^no$/);
    answer = failing('invalid_argument', 400);
    await refused(client.search(REQUEST), 'invalid_argument', /^no$/);
    assert.equal(asked.length, 4);
  });

  test('does not wait for what comes after its deadline', async () => {
    answer = failing('unavailable', 503, [retryIn(60)]);
    const { retryDelayMs } = await refused(client.search(REQUEST), 'unavailable', /^no$/);
    assert.deepEqual([asked.length, retryDelayMs], [1, 60_000]);
  });

  test('ends at its deadline, which the service is told', async () => {
    answer = () => {};
    await refused(client.search(REQUEST, { timeoutMs: 80 }), 'deadline_exceeded', /^no answer in 80 ms$/);
    const told = Number(asked[0]!.headers['connect-timeout-ms']);
    assert.ok(told > 0 && told <= 80, `${told}`);
    await until(() => gone > 0);
  });

  test('ends when its caller gives up, while it runs and while it waits to be made again', async () => {
    const running = new AbortController();
    answer = () => running.abort(new Error('left'));
    const first = await refused(
      client.search(REQUEST, { signal: running.signal }),
      'canceled',
      /^the caller gave up$/,
    );
    assert.equal((first.cause as Error).message, 'left');
    const waiting = new AbortController();
    answer = (_, response) => {
      failing('unavailable', 503, [retryIn(5)])(undefined as never, response);
      response.on('close', () => setTimeout(() => waiting.abort(), 20));
    };
    await refused(client.search(REQUEST, { signal: waiting.signal }), 'canceled', /^the caller gave up$/);
    await refused(client.search(REQUEST, { signal: AbortSignal.abort() }), 'canceled', /gave up/);
    assert.equal(asked.length, 2);
  });

  test('a service that is away gets few more calls than its callers make', async () => {
    answer = failing('unavailable', 503);
    const calls = Array.from({ length: 40 }, () => client.search(REQUEST, { timeoutMs: 60_000 }));
    const settled = await Promise.allSettled(calls);
    assert.ok(settled.every(({ status }) => status === 'rejected'));
    assert.ok(asked.length > 40 && asked.length <= 40 + 20 + 20, `${asked.length}`);
  });

  test('keeps what the service said: code, message, reason and fields', async () => {
    const detail = (type: string, ...bytes: (string | number)[]): object => ({
      type: `google.rpc.${type}`,
      value: Buffer.concat(
        bytes.map((part) => (typeof part === 'string' ? Buffer.from(part) : Buffer.from([part]))),
      )
        .toString('base64')
        .replace(/=+$/, ''),
    });
    answer = failing('invalid_argument', 400, [
      detail('ErrorInfo', 10, 3, 'ABC', 18, 1, 's'),
      detail('BadRequest', 10, 6, 10, 1, 'f', 18, 1, 'd'),
      detail('Unknown', 'not protobuf'),
      detail('ErrorInfo', 255, 255),
    ]);
    const { reason, violations } = await refused(client.search(REQUEST), 'invalid_argument', /^no$/);
    assert.deepEqual([reason, violations], ['ABC', [{ field: 'f', description: 'd' }]]);
  });

  test('an answer that is none is an error, whatever its status', async () => {
    for (const body of ['', '<html>', '{"hits":']) {
      answer = (_, response) => response.end(body);
      await refused(client.search(REQUEST), 'unknown', /answers 200 without JSON/);
    }
  });

  test('an answer of a proxy means what its status says', async () => {
    const codes = { 400: 'internal', 401: 'unauthenticated', 403: 'permission_denied', 404: 'unimplemented' };
    for (const [status, code] of Object.entries({ ...codes, 500: 'unknown', 505: 'unknown' })) {
      for (const body of ['<html>', '{}']) {
        answer = (_, response) => response.writeHead(Number(status)).end(body);
        await refused(client.search(REQUEST), code, new RegExp(`answers ${status}`));
      }
    }
    for (const status of [429, 502, 503, 504]) {
      asked.length = 0;
      answer = (_, response) => {
        if (asked.length === 1) response.writeHead(status).end('<html>');
        else response.end('{"hits":[]}');
      };
      await client.search(REQUEST);
      assert.equal(asked.length, 2, `${status} is asked again`);
    }
  });
});

test('as one types, a newer query ends the older one, whose answer never comes', async () => {
  const held: ServerResponse[] = [];
  answer = ({ body }, response) => {
    if (body.includes('newest')) response.end('{"hits":[{"documentId":"newest"}]}');
    else held.push(response);
  };
  const older = ['s', 'st', 'sta'].map((query) => client.searchAsYouType({ ...REQUEST, query }));
  const ended = Promise.all(older.map((call) => refused(call, 'canceled', /^a newer query came$/)));
  const { hits } = await client.searchAsYouType({ ...REQUEST, query: 'newest' });
  for (const response of held) response.end('{"hits":[{"documentId":"old"}]}');
  await ended;
  assert.deepEqual(hits, [{ documentId: 'newest' }]);
  const left = new AbortController();
  left.abort();
  await refused(client.searchAsYouType(REQUEST, { signal: left.signal }), 'canceled', /^the caller gave up$/);
});
