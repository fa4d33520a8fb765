import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';
import { SingleFlight } from './single-flight.ts';

test('equal work at the same time is done once, and anew when it has ended', async () => {
  const flights = new SingleFlight<number>();
  let runs = 0;
  const work = async (): Promise<number> => ++runs;
  const { signal } = new AbortController();
  assert.deepEqual(
    await Promise.all([flights.join('a', signal, work), flights.join('a', signal, work)]),
    [1, 1],
  );
  assert.equal(await flights.join('a', signal, work), 2);
});

test('a caller that got its result leaves no listener behind', async () => {
  const flights = new SingleFlight<number>();
  const { signal } = new AbortController();
  await flights.join('a', signal, () => Promise.resolve(1));
  await flights.join('b', signal, () => Promise.reject(new Error('failed'))).catch(() => {});
  assert.equal(getEventListeners(signal, 'abort').length, 0);
});

test('work is given up with its last caller, and whoever asks then gets work of its own', async () => {
  const flights = new SingleFlight<string>();
  const started: AbortSignal[] = [];
  const never = (signal: AbortSignal): Promise<string> => {
    started.push(signal);
    return new Promise(() => {});
  };
  const [one, two] = [new AbortController(), new AbortController()];
  const first = flights.join('a', one.signal, never);
  const second = flights.join('a', two.signal, never);
  one.abort(new Error('one'));
  await assert.rejects(first, /one/);
  assert.equal(started[0]!.aborted, false, 'somebody still waits');
  two.abort(new Error('two'));
  await assert.rejects(second, /two/);
  assert.equal(started.length, 1);
  assert.equal(started[0]!.aborted, true);
  assert.equal(await flights.join('a', new AbortController().signal, async () => 'anew'), 'anew');
});

test('each of many pieces of the work may listen', async () => {
  const warnings: Error[] = [];
  const warned = (warning: Error): unknown => warnings.push(warning);
  process.on('warning', warned);
  const work = async (signal: AbortSignal): Promise<string> => {
    for (let piece = 0; piece < 20; piece++) signal.addEventListener('abort', () => {});
    await turn();
    return 'done';
  };
  assert.equal(await new SingleFlight<string>().join('a', new AbortController().signal, work), 'done');
  process.off('warning', warned);
  assert.deepEqual(warnings, []);
});
