import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import * as fc from 'fast-check';
import { DocumentClient, QueryClient, ScalingnoteError } from '../index.ts';
import { type FakeService, serve } from '../testing/fake-service.ts';

/** Seeded: the same mutations each time, of which a failure names the one. */
const RUNS = { seed: 17, numRuns: 400 };

/** What is valid, and reaches the services as it is: each field has a value that is not its default. */
const SEARCH = {
  collection: 'c',
  query: 'q',
  tenant: 't',
  limit: 3,
  offset: 2,
  scoreThreshold: 0.5,
  mode: 'hybrid',
  omitText: true,
  filter: {
    must: [
      { field: 'metadata.a', equals: 'x' },
      { filter: { should: [{ field: 'metadata.b', exists: true }] } },
    ],
    mustNot: [
      { field: 'metadata.c', range: { gte: 1, lt: 5 } },
      { field: 'metadata.d', anyOf: [1, 2] },
    ],
  },
};
const DELETE = { collection: 'c', tenant: 't', documentIds: ['a', 'b'] };
const GET = { collection: 'c', tenant: 't', ids: ['a', 'b'], withVectors: true };
const BOUNDS = {
  timeoutMs: 5000,
  traceparent: `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`,
  metadata: { key: 'x' },
};

let service: FakeService;
let queries: QueryClient;
let documents: DocumentClient;
let arrived: unknown;

const take = (call: { request: unknown; metadata: { get(key: string): unknown[] } }) => {
  arrived = { request: call.request, metadata: call.metadata.get('key'), trace: traceId(call.metadata) };
};
const traceId = (metadata: { get(key: string): unknown[] }): string =>
  String(metadata.get('traceparent')[0]).slice(0, 35);

const METHODS = {
  search: { request: SEARCH, call: (r: never, b: never) => queries.search(r, b) },
  delete: { request: DELETE, call: (r: never, b: never) => documents.delete(r, b) },
  getDocuments: { request: GET, call: (r: never, b: never) => documents.getDocuments(r, b) },
} as const;

before(async () => {
  service = await serve({
    Search: (call, callback) => {
      take(call);
      callback(null, {});
    },
    Delete: (call, callback) => {
      take(call);
      callback(null, {});
    },
    GetDocuments: (call, callback) => {
      take(call);
      callback(null, {});
    },
  });
  queries = new QueryClient({ address: service.address });
  documents = new DocumentClient({ address: service.address });
});

after(() => {
  queries.close();
  documents.close();
  service.close();
});

type Tree = Record<string, unknown>;

/** Every place in a value that holds another. */
function places(value: unknown): { holder: Tree; key: string }[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, item]) => [{ holder: value as Tree, key }, ...places(item)]);
}

const snake = (key: string): string => key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** Mutations; each says whether what comes of it still means the same. */
const MUTATIONS: Record<string, (holder: Tree, key: string, junk: unknown) => 'same' | 'other' | 'none'> = {
  rename: (holder, key) => move(holder, key, `${key}x`),
  'change case': (holder, key) => move(holder, key, key.toUpperCase()),
  'snake case': (holder, key) => (move(holder, key, snake(key)) === 'none' ? 'none' : 'same'),
  'wrong value': (holder, key, junk) => ((holder[key] = junk), 'other'),
  'extra key': (holder, key, junk) => {
    if (Array.isArray(holder)) return 'none';
    holder[`${key}Extra`] = junk ?? 1;
    return 'other';
  },
  'copy of itself': (holder, key) => ((holder[key] = { [key]: structuredClone(holder[key]) }), 'other'),
  list: (holder, key) => ((holder[key] = [holder[key]]), 'other'),
  text: (holder, key) => ((holder[key] = String(holder[key])), 'other'),
  getter: (holder, key) => {
    Object.defineProperty(holder, key, {
      enumerable: true,
      get: () => {
        throw new Error('no');
      },
    });
    return 'other';
  },
};

function move(holder: Tree, from: string, to: string): 'other' | 'none' {
  if (Array.isArray(holder) || from === to) return 'none';
  holder[to] = holder[from];
  delete holder[from];
  return 'other';
}

const JUNK = [
  null,
  Number.NaN,
  Infinity,
  -1,
  1.5,
  2 ** 40,
  '5',
  '',
  [],
  {},
  Symbol('s'),
  5n,
  new Map(),
  () => 1,
];

/** Values that are as good as the one that they replace: a search for them is another search, as it was written. */
function isMeant(key: string, junk: unknown): boolean {
  const isText = typeof junk === 'string';
  if (['collection', 'query', 'tenant', 'field', 'equals', 'key'].includes(key) && isText) return true;
  if (/^\d+$/.test(key) && isText) return true;
  if (['equals', '0', '1', 'scoreThreshold', 'gte', 'lt', 'timeoutMs'].includes(key)) {
    return typeof junk === 'number' && Number.isFinite(junk) && (key !== 'timeoutMs' || junk >= 0);
  }
  if (['must', 'should', 'mustNot', 'documentIds', 'ids', 'anyOf'].includes(key)) {
    return Array.isArray(junk) && junk.length === 0;
  }
  if (key === 'traceparent') return junk === '';
  // An empty filter, or no metadata.
  return (key === 'filter' || key === 'metadata') && typeof junk === 'object' && isEmptyObject(junk);
}

const isEmptyObject = (value: object | null): boolean =>
  value !== null && Object.getPrototypeOf(value) === Object.prototype && Object.keys(value).length === 0;

test('400 mutations: each is refused by name, or arrives as it was written', async () => {
  const normal: Record<string, unknown> = {};
  for (const [name, { request, call }] of Object.entries(METHODS)) {
    await call(structuredClone(request) as never, structuredClone(BOUNDS) as never);
    normal[name] = arrived;
  }
  const seen = { refused: 0, same: 0, meant: 0 };
  const uncaught: unknown[] = [];
  const onUncaught = (error: unknown): void => void uncaught.push(error);
  process.on('uncaughtException', onUncaught);
  process.on('unhandledRejection', onUncaught);
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...(Object.keys(METHODS) as (keyof typeof METHODS)[])),
      fc.constantFrom(...Object.keys(MUTATIONS)),
      fc.nat(),
      fc.constantFrom(...JUNK),
      async (name, mutation, at, junk) => {
        const { request, call } = METHODS[name];
        const whole = { request: structuredClone(request), bounds: structuredClone(BOUNDS) };
        const all = [...places(whole.request), ...places(whole.bounds)];
        const { holder, key } = all[at % all.length]!;
        const original = holder[key];
        const meaning = MUTATIONS[mutation]!(holder, key, junk);
        // Options have one spelling: the other one is refused with its name.
        const effect = meaning === 'same' && holder === whole.bounds ? 'other' : meaning;
        arrived = undefined;
        // Outside of the assertion: what is thrown instead of given by the promise is a failure, too.
        const answer = call(whole.request as never, whole.bounds as never);
        const error: unknown = await answer.then(
          () => undefined,
          (thrown: unknown) => thrown,
        );
        if (error !== undefined) {
          assert.ok(error instanceof ScalingnoteError, `${mutation} of ${key} threw something else`);
          if (error.code === 'DEADLINE_EXCEEDED') return;
          assert.equal(error.reason, 'INVALID_ARGUMENT', error.message);
          assert.notEqual(error.violations[0]?.field ?? '', '');
          assert.equal(arrived, undefined);
          assert.equal(effect, 'other', `${key} was refused although it means the same: ${error.message}`);
          seen.refused++;
        } else if (effect !== 'other') {
          assert.deepEqual(arrived, normal[name]);
          seen.same++;
        } else {
          const isRenamedKey = holder === (whole.bounds.metadata as Tree);
          const now = mutation === 'text' ? String(original) : junk;
          if (now === original) return;
          const isFree = mutation === 'wrong value' || mutation === 'text';
          assert.ok(
            isRenamedKey || (isFree && isMeant(key, now)),
            `${mutation} of ${key} was taken in silence`,
          );
          seen.meant++;
        }
      },
    ),
    RUNS,
  );
  // What comes after the answer, such as a timer that can't be set.
  await new Promise((resolve) => setTimeout(resolve, 50));
  process.off('uncaughtException', onUncaught);
  process.off('unhandledRejection', onUncaught);
  assert.deepEqual(uncaught, []);
  assert.ok(seen.refused >= 200, JSON.stringify(seen));
});
