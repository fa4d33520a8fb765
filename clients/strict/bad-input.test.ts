import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Filter__Output } from '../../proto/generated/scalingnote/v1/Filter.ts';
import type { SearchRequest__Output } from '../../proto/generated/scalingnote/v1/SearchRequest.ts';
import { DocumentClient, QueryClient, ScalingnoteError } from '../index.ts';
import { type FakeService, serve } from '../testing/fake-service.ts';

const SEARCH = { collection: 'c', query: 'q' };

let service: FakeService;
let queries: QueryClient;
let documents: DocumentClient;
let asked: SearchRequest__Output | undefined;

before(async () => {
  service = await serve({
    Search: (call, callback) => {
      asked = call.request;
      callback(null, {});
    },
  });
  queries = new QueryClient({ address: service.address });
  documents = new DocumentClient({ address: service.address });
  await queries.search(SEARCH);
});

after(() => {
  queries.close();
  documents.close();
  service.close();
});

const search = (change: object, bounds?: object): Promise<unknown> =>
  queries.search({ ...SEARCH, ...change }, bounds);

async function refused(attempt: () => Promise<unknown>, message: RegExp): Promise<void> {
  asked = undefined;
  // Called before the assertion: what is thrown outside the promise fails the test.
  const answer = attempt();
  await assert.rejects(answer, (error: unknown) => {
    assert.ok(error instanceof ScalingnoteError, String(error));
    assert.equal(error.reason, 'INVALID_ARGUMENT');
    assert.equal(error.violations.length, 1);
    assert.match(error.message, message);
    return true;
  });
  assert.equal(asked, undefined);
}

const deep = (levels: number): object =>
  levels === 0 ? { must: [] } : { must: [{ filter: deep(levels - 1) }] };

function cyclic(): object {
  const filter: { must: object[] } = { must: [] };
  filter.must.push({ filter });
  return filter;
}

/** Fourteen filters of which each holds the next eight times are billions. */
function doubling(): object {
  let filter: object = { must: [{ field: 'metadata.a', equals: 1 }] };
  for (let level = 0; level < 14; level++) {
    const inner = { filter };
    filter = { must: Array.from({ length: 8 }, () => inner) };
  }
  return filter;
}

const throwing = Object.defineProperty({ ...SEARCH }, 'limit', {
  enumerable: true,
  get: () => {
    throw new Error('no limit');
  },
});

const REQUESTS: [what: string, change: object, message: RegExp][] = [
  [
    'a slip in a name',
    { treshold: 0.5 },
    /^treshold: is no field that is known here; did you mean "scoreThreshold"\?/,
  ],
  ['another name', { nothing_like_it: 1 }, /known are collection, tenant, query, limit/],
  ['both spellings', { scoreThreshold: 0.5, score_threshold: 0.9 }, /^score_threshold: is given twice/],
  ['a mode in capitals', { mode: 'DENSE' }, /^mode: is "DENSE", but must be one of .*did you mean "dense"\?/],
  ['a mode by number', { mode: 1 }, /^mode: is 1, but must be one of "dense", "sparse", "hybrid"/],
  ['no mode', { mode: 'SEARCH_MODE_UNSPECIFIED' }, /^mode: /],
  ['a negative limit', { limit: -1 }, /^limit: is -1, but must be a whole number: .*1 to 1000/],
  ['a fraction', { limit: 1.5 }, /^limit: is 1\.5/],
  ['a limit as text', { limit: '10' }, /^limit: is "10"/],
  ['NaN', { scoreThreshold: Number.NaN }, /^scoreThreshold: is NaN, but must be a finite number/],
  ['null', { filter: null }, /^filter: is null; give a value, or leave it out/],
  ['a flag as text', { omitText: 'false' }, /^omitText: is "false"; give true or false/],
  ['a text as a list', { query: ['q'] }, /^query: must be a string, but is a list/],
  ['must_not that is no list', { filter: { must_not: { field: 'a' } } }, /^filter\.must_not: must be a list/],
  ['a filter that is a list', { filter: [] }, /^filter: must be an object, but is a list/],
  [
    'equal',
    { filter: { must: [{ field: 'metadata.a', equal: 'x' }] } },
    /^filter\.must\[0\]\.equal: .*did you mean "equals"\?/,
  ],
  [
    'two tests',
    { filter: { must: [{ field: 'metadata.a', equals: 1, range: { gt: 0 } }] } },
    /has "equals" beside "range"/,
  ],
  [
    'exists: false',
    { filter: { must: [{ field: 'metadata.a', exists: false }] } },
    /exists: is false; give true, .*mustNot/,
  ],
  [
    'lessThan',
    { filter: { must: [{ field: 'metadata.a', range: { gte: 1, lessThan: 5 } }] } },
    /range\.lessThan: is no bound/,
  ],
  [
    'a bound as text',
    { filter: { must: [{ field: 'metadata.a', range: { gte: '1' } }] } },
    /range\.gte: is "1"/,
  ],
  ['no test', { filter: { must: [{ field: 'metadata.a' }] } }, /^filter\.must\[0\]: has no test/],
  ['no field', { filter: { must: [{ equals: 1 }] } }, /^filter\.must\[0\]\.field: is missing/],
  ['equals null', { filter: { must: [{ field: 'metadata.a', equals: null }] } }, /equals: is null/],
  ['a null condition', { filter: { must: [null] } }, /^filter\.must\[0\]: is null/],
  ['a hole', { filter: { must: Array(1) } }, /^filter\.must\[0\]: is undefined/],
  [
    'a filter with a field',
    { filter: { must: [{ field: 'metadata.a', filter: { must: [] } }] } },
    /is given beside "filter"/,
  ],
  ['a deep filter', { filter: deep(40) }, /is nested deeper than 32 levels/],
  ['a filter in itself', { filter: cyclic() }, /or holds itself/],
  ['a filter that doubles', { filter: doubling() }, /^filter.*is too much/],
  ['an instance', { filter: new Map([['must', []]]) }, /^filter: is an instance of "Map"/],
  ['a proxy that is gone', { filter: revoked() }, /^filter: can't be read/],
];

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

describe('a search that would not be what was written is refused by name', () => {
  for (const [what, change, message] of REQUESTS) {
    test(what, () => refused(() => search(change), message));
  }

  test('a request that is none', async () => {
    for (const request of [undefined, null, 'q', 1, [], new URL('http://a')]) {
      await refused(() => queries.search(request as never), /^the fields: /);
    }
    await refused(() => queries.search(throwing), /^limit: can't be read: no limit/);
    await refused(() => queries.search({ collection: 'c' } as never), /^query: is missing/);
    await refused(() => queries.search(Object.create(SEARCH) as never), /is an object with a prototype/);
  });

  test('what was put into every object counts for none', async () => {
    const root: object = Object.prototype;
    Object.defineProperty(root, 'limit', { value: 3, configurable: true, enumerable: true });
    try {
      await search({});
    } finally {
      Reflect.deleteProperty(root, 'limit');
    }
    assert.equal(asked?.limit, undefined);
  });
});

describe('what an error teaches is taken', () => {
  const condition = async (written: object): Promise<Filter__Output['must'][0] | undefined> => {
    await search({ filter: { must: [written] } });
    return asked?.filter?.must[0];
  };

  test('both spellings are the same', async () => {
    await search({
      score_threshold: 0.5,
      omit_text: true,
      filter: { must_not: [{ field: 'metadata.a', any_of: [1] }] },
    });
    const snake = asked;
    await search({
      scoreThreshold: 0.5,
      omitText: true,
      filter: { mustNot: [{ field: 'metadata.a', anyOf: [1] }] },
    });
    assert.deepEqual(snake, asked);
    assert.equal(asked?.scoreThreshold, 0.5);
    assert.equal(asked?.filter?.mustNot[0]?.anyOf?.values.length, 1);
  });

  test('conditions in the form of the proto', async () => {
    const pairs: [short: object, full: object][] = [
      [{ field: 'metadata.a', equals: 'x' }, { equals: { field: 'metadata.a', value: 'x' } }],
      [{ field: 'metadata.a', anyOf: ['x', 'y'] }, { any_of: { field: 'metadata.a', values: ['x', 'y'] } }],
      [{ field: 'metadata.a', range: { gte: 1, lt: 5 } }, { range: { field: 'metadata.a', gte: 1, lt: 5 } }],
      [{ field: 'metadata.a', exists: true }, { exists: { field: 'metadata.a' } }],
    ];
    for (const [short, full] of pairs) assert.deepEqual(await condition(full), await condition(short));
  });

  test('an enum by its name in the proto', async () => {
    await search({ mode: 'SEARCH_MODE_HYBRID' });
    assert.equal(asked?.mode, 'SEARCH_MODE_HYBRID');
    await search({ mode: undefined });
    assert.equal(asked?.mode, 'SEARCH_MODE_UNSPECIFIED');
  });
});

describe('options that nobody could follow are refused by name', () => {
  const cases: [what: string, bounds: object, message: RegExp][] = [
    [
      'NaN',
      { timeoutMs: Number.NaN },
      /^timeoutMs: is NaN; give milliseconds, a number from 0 to 2147483647/,
    ],
    ['a text', { timeoutMs: '500' }, /^timeoutMs: is "500"/],
    ['25 days', { timeoutMs: 25 * 24 * 3600 * 1000 }, /^timeoutMs: is 2160000000/],
    ['a negative one', { timeoutMs: -1 }, /^timeoutMs: is -1/],
    ['a slip', { timeoutMS: 5 }, /^timeoutMS: is no option .*did you mean "timeoutMs"\?/],
    ['a line break', { traceparent: '00-a\nb' }, /^traceparent: is "00-a\\nb"; give a W3C trace context/],
    ['no signal', { signal: {} }, /^signal: is an object; give an AbortSignal/],
    ['a controller', { signal: new AbortController() }, /^signal: is an instance of "AbortController"/],
    ['metadata in capitals', { metadata: { Key: 'x' } }, /^metadata\.Key: is no key/],
    ['metadata with a line break', { metadata: { key: 'x\ny' } }, /^metadata\.key: is "x\\ny"/],
    ['text for bytes', { metadata: { 'key-bin': 'x' } }, /^metadata\.key-bin: .*carries a Buffer/],
  ];
  for (const [what, bounds, message] of cases) {
    test(what, async () => {
      await refused(() => search({}, bounds), message);
      await refused(() => queries.health(bounds), message);
      await refused(() => queries.describe(bounds), message);
      await refused(() => documents.count({ collection: 'c' }, bounds), message);
    });
  }

  test('a search stream', async () => {
    using stream = queries.searchStream();
    await refused(() => stream.search(SEARCH, { timeoutMs: Number.NaN }), /^timeoutMs: is NaN/);
    await refused(() => stream.search({ ...SEARCH, mode: 'DENSE' as 'dense' }), /^mode: /);
    using refusing = queries.searchStream({ traceparent: 'x\n' });
    await refused(() => refusing.search(SEARCH), /^traceparent: /);
  });

  test('options of a client', () => {
    const wrong: [options: object, message: RegExp][] = [
      [{ address: '127.0.0.1' }, /^ScalingnoteError: address: is "127\.0\.0\.1", without a port/],
      [{ address: 'http://127.0.0.1:7402' }, /with a scheme/],
      [{ address: '::1:7402' }, /an IPv6 address without brackets/],
      [{ address: '[::1]' }, /without a port/],
      [{ address: 'host:0' }, /a port is a number from 1 to 65535/],
      [{ address: 'host:99999' }, /a port is a number from 1 to 65535/],
      [{ address: ' host:1' }, /with white space/],
      [{ address: '' }, /write HOST:PORT/],
      [{ address: 7402 }, /is 7402; write HOST:PORT/],
      [{ addresses: [] }, /^ScalingnoteError: addresses: is empty/],
      [{ addresses: ['a:1', 'b'] }, /^ScalingnoteError: addresses\[1\]: /],
      [{ addresses: ['a:1', 'a:1'] }, /again/],
      [{ address: 'a:1', addresses: ['a:1'] }, /is given beside "address"/],
      [{ adress: 'a:1' }, /did you mean "address"\?/],
      [{ timeoutMs: Infinity }, /timeoutMs: is Infinity/],
      [{ attempts: 0 }, /attempts: is 0/],
      [{ balancing: 'roundRobin' }, /did you mean "round-robin"\?/],
      [{ credentials: {} }, /give ChannelCredentials/],
      [{ channelOptions: { 'grcp.x': 1 } }, /is no option of gRPC/],
      [null as never, /must be an object, but is null/],
    ];
    for (const [options, message] of wrong) assert.throws(() => new QueryClient(options), message);
    for (const address of ['[::1]:7402', 'my_host.example:7402', 'localhost:1']) {
      new QueryClient({ address }).close();
    }
  });
});

describe('the document service', () => {
  const anything = { collection: 'c' };

  test('requests', async () => {
    await refused(() => documents.delete({ ...anything, ids: ['a'] } as never), /^ids: is no field/);
    await refused(() => documents.delete({ ...anything, documentIds: 'abc' } as never), /must be a list/);
    // An empty list is none on the wire: everything that matches would go.
    await refused(
      () => documents.delete({ ...anything, documentIds: [], filter: { must: [] } }),
      /^filter: is given beside the ids/,
    );
    await refused(
      () => documents.count({ collection: 'c', filter: { mustnot: [] } } as never),
      /did you mean "mustNot"/,
    );
    await refused(() => documents.getDocuments({ ...anything } as never), /^ids: is missing/);
    await refused(
      () => documents.getDocuments({ ...anything, ids: ['a', 1] } as never),
      /^ids\[1\]: must be a string/,
    );
    await refused(
      () => documents.listDocuments({ ...anything, page: 2 } as never).next(),
      /^page: is no field/,
    );
    await refused(
      () => documents.exportDocuments({ ...anything, withVector: true } as never).next(),
      /"withVectors"/,
    );
    await refused(() => documents.exportDocuments(undefined as never).next(), /^collection: is missing/);
    await refused(() => documents.switchAlias('a', undefined as never), /^physicalName: is missing/);
    await refused(() => documents.dropCollection('a', { withAlias: true } as never), /"withAliases"/);
    await refused(() => queries.encode('text' as never), /^texts: must be a list/);
    await refused(
      () => queries.searchByVector({ search: { collection: 'c' }, space: 's', vector: [1e300] }),
      /^vector\[0\]: is 1e\+300, but must be at most 3\.4e38/,
    );
    await refused(() => queries.measureFamiliarity({ colection: 'c' } as never), /"collection"/);
  });

  test('ingest', async () => {
    await refused(() => documents.ingest([], { ...anything, omit_text: true } as never), /"omitText"/);
    await refused(() => documents.ingest([], { ...anything, omitText: 1 } as never), /^omitText: is 1/);
    await refused(() => documents.ingest([], { ...anything, window: 0 }), /^window: is 0/);
    await refused(
      () => documents.ingest([], { ...anything, onOutcome: true } as never),
      /^onOutcome: .*function/,
    );
    await refused(() => documents.ingest([], undefined as never), /^collection: is missing/);
    await refused(() => documents.ingest('abc' as never, anything), /^source: /);
    await refused(() => documents.ingest(undefined as never, anything), /^source: /);
  });
});
