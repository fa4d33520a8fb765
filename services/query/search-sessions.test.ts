import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { request } from 'undici';
import { Held } from './testing/fakes.ts';
import { startQuery, type QueryHarness } from './testing/harness.ts';

const SESSION = 'a-session-of-tests';

let harness: QueryHarness;
let held: Held;

before(async () => {
  harness = await startQuery();
});
after(() => harness.stop());

interface Answer {
  http: number;
  sequence?: string;
  result?: { hits?: object[]; collection: string };
  superseded?: { bySequence: string };
  code?: string;
  message?: string;
}

async function ask(
  body: unknown,
  { session = SESSION, address = `?session=${String(session)}`, ...options }: Record<string, unknown> = {},
): Promise<Answer> {
  const answer = await request(`http://${harness.server.address}/v1/search-stream${String(address)}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    ...options,
  });
  return { http: answer.statusCode, ...((await answer.body.json()) as object) };
}

const query = (sequence: number | string, text = `query ${sequence}`): object => ({
  sequence,
  search: { query: text },
});

/** Holds searches back, and waits until so many are with the store. */
function hold(): (count: number) => Promise<void> {
  held = new Held();
  harness.store.find = held.find;
  return async (count) => {
    while (held.waiting < count) await sleep(1);
  };
}

test('a query is answered by its result', async () => {
  harness.store.find = undefined;
  const answer = await ask(query(1));
  assert.deepEqual([answer.http, answer.sequence, answer.result?.collection], [200, '1', 'docs']);
});

test('a newer query supersedes the one before it, whose search is given up', async () => {
  const reached = hold();
  const session = 'superseding-session';
  const first = ask(query(1), { session });
  await reached(1);
  const second = ask(query(2), { session });
  assert.deepEqual(await first, { http: 200, sequence: '1', superseded: { bySequence: '2' } });
  while (held.abandoned < 1) await sleep(1);
  await reached(2);
  held.release();
  const { sequence, result } = await second;
  assert.deepEqual([sequence, result?.collection], ['2', 'docs']);
});

test('sessions do not supersede each other', async () => {
  const reached = hold();
  const both = [
    ask(query(1), { session: 'session-number-one' }),
    ask(query(1), { session: 'session-number-two' }),
  ];
  await reached(2);
  held.release();
  for (const { result } of await Promise.all(both)) assert.equal(result?.collection, 'docs');
});

test('an error of a query is its answer, and the session goes on', async () => {
  harness.store.find = undefined;
  const session = 'session-with-errors';
  const bad = await ask({ sequence: 1, search: { query: 'q', scoreThreshold: 2 } }, { session });
  assert.deepEqual([bad.http, bad.code], [400, 'invalid_argument']);
  assert.match(bad.message!, /^scoreThreshold: is 2;/);
  assert.equal((await ask(query(2), { session })).sequence, '2');
});

test('a caller that goes away gives up its search', async () => {
  const reached = hold();
  const gone = new AbortController();
  const asked = ask(query(1), { session: 'session-that-ends', signal: gone.signal });
  await reached(1);
  gone.abort();
  await assert.rejects(asked);
  while (held.abandoned < 1) await sleep(1);
});

test('what is wrong is refused by name', async () => {
  harness.store.find = undefined;
  const session = 'session-of-refusals';
  await ask(query(5), { session });
  const cases: [unknown, Record<string, unknown>, RegExp][] = [
    [query(5), { session }, /^sequence: is 5, after 5;/],
    [query(0), { session: 'another-new-session' }, /^sequence: is 0; count from 1/],
    [{ search: { query: 'q' } }, { session: 'another-new-session' }, /^sequence: is 0/],
    [{ sequence: 6 }, { session }, /^search: is not set/],
    [{ sequence: 6, search: { quary: 'q' } }, { session }, /^search\.quary: .*did you mean query/],
    [{ sequence: -6, search: {} }, { session }, /^sequence: is -6; send 0 to/],
    [query(1), { address: '' }, /^session: is ""; send 16 to 64/],
    [query(1), { session: 'short' }, /^session: is "short"/],
    [query(1), { address: `?session=${SESSION}&limit=1` }, /^limit: is no parameter/],
    [query(1), { address: `?session=${SESSION}&session=${SESSION}` }, /^session: is given twice/],
    [query(1), { headers: { 'content-type': 'text/plain' } }, /send application\/json/],
  ];
  for (const [body, options, message] of cases) {
    const answer = await ask(body, options);
    assert.match(answer.message ?? JSON.stringify(answer), message);
    assert.ok(answer.http >= 400);
  }
});

interface Event {
  event: string;
  id: string;
  data: { sequence?: string; superseded?: { bySequence: string }; result?: object; code?: string };
}

/** One query, answered as an event; `fetch` as a page has it. */
async function askForEvent(body: object, session: string): Promise<{ type: string | null; events: Event[] }> {
  const answer = await fetch(`http://${harness.server.address}/v1/search-stream?session=${session}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'text/event-stream' },
    body: JSON.stringify(body),
  });
  const text = await answer.text();
  const events = text.split('\n\n').filter((each) => each !== '');
  return {
    type: answer.headers.get('content-type'),
    events: events.map((each) => {
      const fields = each.split('\n').map((line) => line.split(/: (.*)/s, 2) as [string, string]);
      const { event, id, data } = Object.fromEntries(fields) as Record<string, string>;
      return { event: event!, id: id!, data: JSON.parse(data!) as Event['data'] };
    }),
  };
}

test('who accepts events gets one: the result, the newer query, or the error', async () => {
  const session = 'a-session-of-events';
  const reached = hold();
  const first = askForEvent(query(1), session);
  await reached(1);
  const second = askForEvent(query(2), session);
  const superseded = await first;
  assert.equal(superseded.type, 'text/event-stream');
  assert.deepEqual(superseded.events, [
    { event: 'superseded', id: '1', data: { sequence: '1', superseded: { bySequence: '2' } } },
  ]);
  await reached(2);
  held.release();
  const [result] = (await second).events;
  assert.deepEqual([result?.event, result?.id, result?.data.sequence], ['result', '2', '2']);
  assert.ok(result?.data.result);
  const bad = { sequence: 3, search: { query: 'q', scoreThreshold: 2 } };
  const [error] = (await askForEvent(bad, session)).events;
  assert.deepEqual([error?.event, error?.id, error?.data.code], ['error', '3', 'invalid_argument']);
});

test('what never gets a place in the session is an error of HTTP, for those who accept events too', async () => {
  const headers = { 'content-type': 'application/json', accept: 'text/event-stream' };
  const answer = await ask({ sequence: 0 }, { session: 'a-session-of-no-events', headers });
  assert.deepEqual([answer.http, answer.code], [400, 'invalid_argument']);
  const plain = { ...headers, accept: 'application/json, text/event-stream;q=0' };
  harness.store.find = undefined;
  const taken = await ask(query(1), { session: 'a-session-of-no-events', headers: plain });
  assert.deepEqual([taken.http, taken.sequence], [200, '1']);
});
