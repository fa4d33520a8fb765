import assert from 'node:assert/strict';
import { connect } from 'node:http2';
import { after, mock, test } from 'node:test';
import zlib, { gzipSync } from 'node:zlib';
import { status } from '@grpc/grpc-js';
import { v1 } from '../../proto/load.ts';
import { queryService } from '../../services/query/service.ts';
import { FakeStore, FakeTower, Held } from '../../services/query/testing/fakes.ts';
import { Admission } from '../../services/runtime/admission/admission.ts';
import { LARGEST_MESSAGES } from '../../services/runtime/admission/budgets.ts';
import { kindsOf } from '../../services/runtime/admission/kinds.ts';
import type { ServiceError } from '../../services/runtime/errors.ts';
import { callUnary, failure, serveService, until } from '../../services/runtime/testing/harness.ts';
import { pino } from 'pino';
import { load } from '../load/load.ts';
import { framed } from '../load/messages.ts';

const MAX_RECEIVE = 4 * 1024 * 1024;
const { Search } = v1.QueryService.service;

const closers: (() => unknown)[] = [];
after(() => Promise.all(closers.map((close) => close())));

/** A query service behind an admission. */
async function start({ slots = 8, places = 100 } = {}) {
  const [tower, store] = [new FakeTower(), new FakeStore()];
  await store.lead('docs', tower.manifest.space.fingerprint);
  const log = pino({ level: 'silent' });
  const refusals: ServiceError[] = [];
  const admission = new Admission({
    slots,
    places,
    maxReceiveBytes: MAX_RECEIVE,
    kinds: kindsOf(v1.QueryService.service),
    onRefusal: (_, error) => refusals.push(error),
  });
  const served = queryService({ slots, queue: places, cache: 0, tower, store, log });
  const harness = await serveService(served, { log, maxReceiveBytes: MAX_RECEIVE, hooks: admission });
  closers.push(() => (admission.close(), harness.stop()));
  const { address } = harness.server;
  return { ...harness, store, admission, refusals, host: '127.0.0.1', port: Number(address.split(':')[1]) };
}

test('gzip that inflates a thousandfold takes the memory of some messages, however many come', async () => {
  const { admission, host, port, refusals, client } = await start({ slots: 100 });
  // A message that is zeros: it does not decode, and its cost is in what it inflates to.
  const bomb = framed(gzipSync(Buffer.alloc(MAX_RECEIVE - 1), { level: 9 }));
  bomb[0] = 1;
  const inflations = mock.method(zlib.Gunzip.prototype, '_transform');
  let most = 0;
  const { take } = admission.bytes;
  admission.bytes.take = (bytes) => {
    const room = take.call(admission.bytes, bytes);
    most = Math.max(most, admission.bytes.held);
    return room;
  };
  const { phases } = await load({
    host,
    port,
    path: Search.path,
    bodies: [bomb],
    headers: { 'grpc-encoding': 'gzip' },
    deadlineMs: 20_000,
    connections: 4,
    phases: [{ name: 'bombs', ms: 100, callers: 60 }],
    seed: 1,
  });
  const { statuses, offered } = phases[0]!;
  const { INVALID_ARGUMENT: read = 0, RESOURCE_EXHAUSTED: refused = 0 } = statuses;
  assert.equal(read + refused, offered, JSON.stringify(statuses));
  assert.ok(read > 0 && refused > 0, JSON.stringify(statuses));
  const inflated = new Set(inflations.mock.calls.map(({ this: stream }) => stream));
  assert.equal(inflated.size, read, 'what is refused is not inflated');
  assert.ok(most <= LARGEST_MESSAGES * MAX_RECEIVE && most > MAX_RECEIVE, `${most} bytes`);
  assert.ok(refusals.every(({ reason, retryDelayMs }) => reason === 'OVERLOADED' && retryDelayMs! > 0));
  await until(() => admission.bytes.held === 0 && admission.open === 0);
  await callUnary(client, 'Search', { collection: 'docs', query: 'still there' });
});

test('a call whose body does not come gives its slot to others', async () => {
  const { admission, client, port } = await start({ slots: 1, places: 0 });
  const session = connect(`http://127.0.0.1:${port}`);
  closers.push(() => session.destroy());
  const silent = session.request({
    ':method': 'POST',
    ':path': Search.path,
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  silent.on('error', () => {});
  await until(() => admission.queue.running === 1);
  const refused = await failure(callUnary(client, 'Search', { collection: 'docs', query: 'x' }));
  assert.deepEqual([refused.code, refused.reason], [status.RESOURCE_EXHAUSTED, 'OVERLOADED']);
  await until(() => admission.queue.running === 0);
  assert.equal(admission.open, 1);
  await callUnary(client, 'Search', { collection: 'docs', query: 'x' });
  silent.close();
  await until(() => admission.open === 0);
});

test('of MeasureFamiliarity few run at a time, and searches go past it', async () => {
  const { store, admission, client, refusals } = await start({ slots: 4 });
  let release = (): void => {};
  const released = new Promise<void>((resolve) => (release = resolve));
  const scroll = store.scroll.bind(store);
  store.scroll = async (...given) => {
    await released;
    return scroll(...given);
  };
  const calls = Array.from({ length: 20 }, () =>
    callUnary(client, 'MeasureFamiliarity', { collection: 'docs' }).then(
      () => 'answered',
      () => 'refused',
    ),
  );
  // One of four slots is for what nobody waits for at a keyboard.
  await until(() => refusals.length === 19);
  assert.equal(admission.queue.running, 1);
  await callUnary(client, 'Search', { collection: 'docs', query: 'x' });
  release();
  const outcomes = await Promise.all(calls);
  assert.equal(outcomes.filter((outcome) => outcome === 'answered').length, 1);
});

test('Describe answers under overload, Encode is refused unread', async () => {
  const { store, client, refusals } = await start({ slots: 1, places: 0 });
  const held = new Held();
  store.find = held.find;
  const first = callUnary(client, 'Search', { collection: 'docs', query: 'x' });
  await until(() => held.waiting === 1);
  await callUnary(client, 'Describe', {});
  await failure(callUnary(client, 'Encode', { texts: ['x'] }));
  assert.equal(refusals.length, 1);
  held.release();
  await first;
});
