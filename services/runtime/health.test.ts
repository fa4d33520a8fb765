import assert from 'node:assert/strict';
import { test } from 'node:test';
import { monitorHealth } from './health.ts';
import { recordingLog, until } from './testing/harness.ts';

function monitored(check: () => Promise<void>) {
  const { log, lines } = recordingLog();
  const states: boolean[] = [];
  const setServing = (serving: boolean): unknown => states.push(serving);
  const monitor = monitorHealth({ check, log, intervalMs: 1, timeoutMs: 50, setServing });
  return { monitor, states, lines };
}

test('a service serves while what it needs is there, and again when it is back', async () => {
  let up = true;
  const { monitor, states, lines } = monitored(() =>
    up ? Promise.resolve() : Promise.reject(new Error('gone')),
  );
  assert.equal(await monitor.probe(), true);
  up = false;
  await until(() => states.length === 2);
  up = true;
  await until(() => states.length === 3);
  monitor.stop();
  assert.deepEqual(states, [true, false, true]);
  assert.deepEqual(
    lines.map(({ level }) => level),
    [30, 50, 30],
    'each change is one line',
  );
});

test('a service that begins without what it needs does not serve', async () => {
  const { monitor, states } = monitored(() => Promise.reject(new Error('not yet')));
  assert.equal(await monitor.probe(), false);
  monitor.stop();
  assert.deepEqual(states, [false]);
});

test('a check that never answers has failed', async () => {
  const { monitor, states } = monitored(() => new Promise(() => {}));
  // The timer of a signal does not keep a process alive.
  const alive = setInterval(() => {}, 1000);
  assert.equal(await monitor.probe(), false);
  clearInterval(alive);
  monitor.stop();
  assert.deepEqual(states, [false]);
});

test('an answer that comes after the stop changes nothing', async () => {
  let answer: () => void = () => {};
  const { monitor, states } = monitored(() => new Promise((resolve) => (answer = resolve)));
  const probe = monitor.probe();
  monitor.stop();
  answer();
  assert.equal(await probe, false);
  assert.deepEqual(states, []);
});
