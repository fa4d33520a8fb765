import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import * as fc from 'fast-check';
import { DocumentClient, QueryClient, ScalingnoteError } from '../index.ts';
import { type FakeService, serve } from '../testing/fake-service.ts';
import { CLIENT_OPTIONS, type Clients, METHODS, Recorder } from './testing/valid-calls.ts';

/** Seeded: the same mutations each time, of which a failure names the one. */
const RUNS = {
  seed: Number(process.env['SEED'] ?? 17),
  numRuns: Number(process.env['RUNS'] ?? 150),
  includeErrorInReport: true,
};

const recorder = new Recorder();
let service: FakeService;
let clients: Clients;

before(async () => {
  service = await serve(recorder.handlers, 0, { isServing: () => true });
  clients = {
    queries: new QueryClient({ address: service.address }),
    documents: new DocumentClient({ address: service.address }),
  };
});

after(() => {
  clients.queries.close();
  clients.documents.close();
  service.close();
});

type Tree = Record<string, unknown>;

/** A place in the arguments that holds a value: what the arguments call it, from the outside in. */
interface Place {
  holder: Tree;
  key: string;
  path: readonly string[];
}

/** Every place in a value that holds another. */
function places(value: unknown, path: readonly string[] = []): Place[] {
  const isTree = Array.isArray(value) || (typeof value === 'object' && value !== null && isPlain(value));
  if (!isTree) return [];
  return Object.entries(value as object).flatMap(([key, item]) => [
    { holder: value as Tree, key, path: [...path, key] },
    ...places(item, [...path, key]),
  ]);
}

/** Whether a value holds nothing, as a list or an object like another one may. */
function isEmptyLike(value: unknown, other: unknown): boolean {
  if (typeof value !== 'object' || value === null || typeof other !== 'object') return false;
  const isSame = Object.getPrototypeOf(value) === Object.getPrototypeOf(other);
  // A source may be anything to iterate over.
  if (value instanceof Map) return Array.isArray(other);
  return isSame && Object.keys(value).length === 0;
}

const isPlain = (value: object): boolean => Object.getPrototypeOf(value) === Object.prototype;
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
  'copy of itself': (holder, key) => ((holder[key] = { [key]: holder[key] }), 'other'),
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
  true,
  Number.NaN,
  Infinity,
  -1,
  0,
  1.5,
  2 ** 40,
  2 ** 53,
  1e300,
  '5',
  '',
  'DENSE',
  'a\nb',
  '\uD800',
  [],
  [null],
  {},
  Object.create({ a: 1 }) as unknown,
  Symbol('s'),
  5n,
  new Map(),
  new Date(Number.NaN),
  () => 1,
];

/** Fields whose values are the caller's own: any text, any number, or a whole one up to some bound. */
const TEXTS =
  /^(collection|query|tenant|field|language|title|text|id|delete|patch|space|expectedIdentity|expectedFreshness)$/;
const NON_EMPTY_TEXTS = /^(atLeastAsFreshAs|explainDocumentId)$/;
const NUMBERS = /^(scoreThreshold|percentileThreshold|denseWeight|gte|lt)$/;
const WHOLE: Readonly<Record<string, number>> = {
  limit: 2 ** 32 - 1,
  offset: 2 ** 32 - 1,
  snippetLength: 2 ** 32 - 1,
  k: 2 ** 32 - 1,
  candidates: 2 ** 32 - 1,
  rerank: 2 ** 32 - 1,
  version: Number.MAX_SAFE_INTEGER,
  sequence: Number.MAX_SAFE_INTEGER,
};
const LISTS = /^(must|should|mustNot|documentIds|ids|anyOf|vector|remove|facets)$/;
/** What the client itself follows; it does not reach the service. */
const OWN = /^(timeoutMs|hedgeAfterMs|patienceMs|window|signal|on[A-Z]\w*)$/;

/** Whether a value is as good as the one that it replaces: then it arrives as it was written. */
function isMeant(path: readonly string[], value: unknown): boolean {
  const key = path.at(-1)!;
  const holder = path.at(-2);
  const isText = typeof value === 'string' && value.isWellFormed();
  const isNumber = typeof value === 'number' && Number.isFinite(value);
  const isEmpty = typeof value === 'object' && value !== null && Object.keys(value).length === 0;
  if (holder === 'metadata' && key === 'key') {
    const isOne = (one: unknown): boolean => typeof one === 'string' && /^[ -~]*$/.test(one);
    return isOne(value) || (Array.isArray(value) && value.every(isOne));
  }
  if (TEXTS.test(key)) return isText;
  if (NON_EMPTY_TEXTS.test(key)) return isText && value !== '';
  if (NUMBERS.test(key)) return isNumber;
  if (key in WHOLE)
    return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= WHOLE[key]!;
  if (LISTS.test(key)) return Array.isArray(value) && isEmpty;
  if (key === 'equals' || holder === 'anyOf') return isText || isNumber || typeof value === 'boolean';
  if (holder === 'vector') return isNumber && Math.abs(value) < 3.5e38;
  if (/^\d+$/.test(key)) return isText;
  if (key === 'timeoutMs' || key === 'hedgeAfterMs') return isNumber && value >= 0 && value <= 2 ** 31 - 1;
  if (key === 'patienceMs') return typeof value === 'number' && value >= 0;
  if (key === 'window') return Number.isSafeInteger(value) && (value as number) > 0;
  // The service says that there is no bound.
  if (key === 'range') return isEmpty && isPlain(value);
  if (/^on[A-Z]/.test(key)) return typeof value === 'function';
  if (key === 'traceparent') return value === '';
  return /^(filter|metadata|set)$/.test(key) && isEmpty && isPlain(value);
}

/** Whether a place lies in what a document's own producer writes, where every JSON is as good as any other. */
const isFree = (name: string, path: readonly string[]): boolean =>
  name === 'ingest' &&
  path[0] === '0' &&
  path.some((key, at) => at < path.length - 1 && /^(metadata|set)$/.test(key));

function isJson(value: unknown): boolean {
  if (value === null || typeof value === 'boolean') return true;
  if (typeof value === 'string') return value.isWellFormed();
  if (typeof value === 'number') return Number.isFinite(value);
  if (Array.isArray(value)) return value.every(isJson);
  return typeof value === 'object' && isPlain(value) && Object.values(value).every(isJson);
}

function assertRefusal(error: unknown, what: string): asserts error is ScalingnoteError {
  assert.ok(error instanceof ScalingnoteError, `${what} threw something else: ${String(error)}`);
  assert.equal(error.reason, 'INVALID_ARGUMENT', `${what}: ${error.message}`);
  assert.notEqual(error.violations[0]?.field ?? '', '', what);
}

/** What is thrown where nobody waits for it, such as by a timer that can't be set. */
async function withoutUncaught(run: () => Promise<void>): Promise<void> {
  const uncaught: unknown[] = [];
  const onUncaught = (error: unknown): void => void uncaught.push(error);
  process.on('uncaughtException', onUncaught);
  process.on('unhandledRejection', onUncaught);
  try {
    await run();
    await new Promise((resolve) => setTimeout(resolve, 50));
  } finally {
    process.off('uncaughtException', onUncaught);
    process.off('unhandledRejection', onUncaught);
  }
  assert.deepEqual(uncaught, []);
}

describe(`${RUNS.numRuns} mutations: each is refused by name, or arrives as it was written`, () => {
  for (const [name, { args, call }] of Object.entries(METHODS)) {
    test(name, () =>
      withoutUncaught(async () => {
        recorder.arrived = [];
        await call(clients, ...(args() as never[]));
        const normal = recorder.arrived;
        const seen = { refused: 0, same: 0, meant: 0 };
        await fc.assert(
          fc.asyncProperty(
            fc.constantFrom(...Object.keys(MUTATIONS)),
            fc.nat(),
            fc.constantFrom(...JUNK),
            async (mutation, at, junk) => {
              const whole = args();
              const all = places(whole);
              const { holder, key, path } = all[at % all.length]!;
              const original = holder[key];
              const what = `${mutation} of ${name}(${path.join('.')}) with ${String(junk)}`;
              const isArgument = path.length === 1;
              // What its source throws is what the caller of an ingest gets.
              const isOfSource = name === 'ingest' && path.length === 2 && path[0] === '0';
              if (mutation === 'getter' && (isArgument || isOfSource)) return;
              const isOption = Object.keys(holder).some((each) => OWN.test(each) || each === 'traceparent');
              const meaning = MUTATIONS[mutation]!(holder, key, junk);
              // Options have one spelling: the other one is refused with its name. A message's field has two.
              const isSpelling =
                meaning === 'same' && !(isOption && !path.includes('filter') && name !== 'ingest');
              // A document's metadata in an object are metadata, too.
              const free = isFree(name, mutation === 'copy of itself' ? [...path, key] : path);
              const now = mutation === 'text' ? String(original) : junk;
              // What comes of it arrives when this call is over, or twice; tests of their own look at that.
              if (/^(timeoutMs|hedgeAfterMs)$/.test(key) && isMeant(path, now) && Number(now) < 1000) return;
              recorder.arrived = [];
              // Outside of the assertion: what is thrown instead of given by the promise is a failure, too.
              const answer = call(clients, ...(whole as never[]));
              const error: unknown = await answer.then(
                () => undefined,
                (thrown: unknown) => thrown,
              );
              const { arrived } = recorder;
              if (error !== undefined) {
                if (error instanceof ScalingnoteError && error.code === 'DEADLINE_EXCEEDED') return;
                assertRefusal(error, what);
                assert.ok(
                  meaning !== 'none',
                  `${what} was refused although nothing changed: ${error.message}`,
                );
                if (meaning === 'same') {
                  assert.ok(
                    isOption || name === 'dropCollection',
                    `${what} was refused although it means the same: ${error.message}`,
                  );
                }
                // Of an ingest, the other operations arrive.
                if (name !== 'ingest') assert.deepEqual(arrived, [], what);
                seen.refused++;
              } else if (meaning === 'none' || (isSpelling && !free)) {
                assert.deepEqual(arrived, normal, what);
                seen.same++;
              } else if (free) {
                if (mutation === 'wrong value') assert.ok(isJson(junk), `${what} was taken in silence`);
                assert.notEqual(mutation, 'getter', what);
                if (now !== original) assert.notDeepEqual(arrived, normal, `${what} changed nothing`);
                seen.meant++;
              } else {
                if (now === original && mutation !== 'list') return;
                const isKey = path.at(-2) === 'metadata' && key === 'key';
                if (mutation === 'rename' && isKey) return;
                if (mutation === 'list' && isKey) return;
                const isValue = mutation === 'wrong value' || mutation === 'text';
                // Options that are left out are an argument, too.
                const isEmpty = isArgument && isEmptyLike(now, original);
                assert.ok(isValue && (isEmpty || isMeant(path, now)), `${what} was taken in silence`);
                if (!OWN.test(key) && !isEmpty && name !== 'health')
                  assert.notDeepEqual(arrived, normal, `${what} changed nothing`);
                seen.meant++;
              }
            },
          ),
          RUNS,
        );
        assert.ok(seen.refused >= RUNS.numRuns / 3, JSON.stringify(seen));
      }),
    );
  }
});

describe('every option of every client: each mutation is refused by name, or followed', () => {
  const isMeantOption = (path: readonly string[], value: unknown): boolean => {
    const key = path.at(-1)!;
    if (path[0] === 'channelOptions' && path.length > 1) {
      return (typeof value === 'number' && !Number.isNaN(value)) || /^(string|function)$/.test(typeof value);
    }
    if (key === 'channelOptions')
      return typeof value === 'object' && value !== null && isPlain(value) && isJson(value);
    if (key === 'attempts') return Number.isSafeInteger(value) && (value as number) > 0;
    if (key === 'waitForReady') return typeof value === 'boolean';
    return isMeant(path, value);
  };
  for (const Client of [QueryClient, DocumentClient]) {
    test(Client.name, () =>
      withoutUncaught(async () => {
        const count = places(CLIENT_OPTIONS(service.address)).length;
        const seen = { refused: 0, taken: 0 };
        for (let at = 0; at < count; at++) {
          for (const [mutation, mutate] of Object.entries(MUTATIONS)) {
            for (const junk of mutation === 'wrong value' || mutation === 'extra key' ? JUNK : [0]) {
              const options = CLIENT_OPTIONS(service.address);
              const { holder, key, path } = places(options)[at]!;
              const original = holder[key];
              const what = `${mutation} of ${path.join('.')} with ${String(junk)}`;
              if (mutate(holder, key, junk) === 'none') continue;
              let client: QueryClient | DocumentClient;
              try {
                client = new Client(options as never);
              } catch (error) {
                assertRefusal(error, what);
                seen.refused++;
                continue;
              }
              client.close();
              seen.taken++;
              const now = mutation === 'text' ? String(original) : junk;
              const isChannelName = path[0] === 'channelOptions' && path.length > 1 && mutation === 'rename';
              const isValue = mutation === 'wrong value' || mutation === 'text';
              assert.ok(
                isChannelName || now === original || (isValue && isMeantOption(path, now)),
                `${what} was taken in silence`,
              );
            }
          }
        }
        assert.ok(seen.refused >= 200, JSON.stringify(seen));
      }),
    );
  }
});
