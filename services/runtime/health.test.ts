import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StoreError } from '../../store/errors.ts';
import { physicalName } from '../../store/store.ts';
import { MemoryStore, type StoreCall } from '../../store/testing/memory-store.ts';
import { monitorHealth } from './health.ts';
import { recordingLog, until } from './testing/harness.ts';
import { watchedStore } from './wrapped-store.ts';

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

const SPACE = { fingerprint: `sp1_${'0'.repeat(32)}`, dimensions: 2 };

/** The health of a service over a store whose calls a test holds back or makes fail; it is serving already. */
async function watched(bounds: { timeoutMs?: number; patienceMs?: number } = {}) {
  const hooks: { before: (call: StoreCall) => Promise<void> | void } = { before: () => {} };
  const memory = new MemoryStore({ before: (call) => hooks.before(call) });
  await memory.ensureCollection('docs', SPACE);
  const { log } = recordingLog();
  const states: boolean[] = [];
  const monitor = monitorHealth({
    check: (options) => store.probe(options),
    setServing: (serving) => states.push(serving),
    log,
    intervalMs: 3_600_000,
    ...bounds,
  });
  const store = watchedStore(memory, monitor);
  await monitor.probe();
  assert.deepEqual(states, [true]);
  return { monitor, store, states, hooks };
}

/** Keeps a process alive, which the timer of a signal does not. */
async function awake<T>(work: Promise<T>): Promise<T> {
  const alive = setInterval(() => {}, 1000);
  return await work.finally(() => clearInterval(alive));
}

test('a store that is busy with one call while it answers others is not broken', async () => {
  const { monitor, store, states, hooks } = await watched({ patienceMs: 30, timeoutMs: 30 });
  hooks.before = ({ operation }) => (operation === 'probe' ? new Promise(() => {}) : undefined);
  const probe = awake(monitor.probe());
  await store.count('docs', '');
  assert.equal(await probe, true);
  assert.equal(monitor.reason, '');
  // Without such an answer, it is.
  assert.equal(await awake(monitor.probe()), false);
  assert.deepEqual(states, [true, false]);
  assert.match(monitor.reason, /has not answered for 0.03 s/);
  // What answers beside a slow check serves again.
  const next = awake(monitor.probe());
  await store.count('docs', '');
  assert.equal(await next, true);
  monitor.stop();
});

for (const reason of ['STORE_UNAVAILABLE', 'STORE_OVERLOADED'] as const) {
  test(`${reason} counts where nobody is answered`, async () => {
    const { monitor, store, states, hooks } = await watched();
    hooks.before = async ({ operation }) => {
      if (operation !== 'probe') return;
      await store.count('docs', '');
      throw new StoreError(reason, 'not now');
    };
    assert.equal(await monitor.probe(), true, 'another call was answered');
    hooks.before = () => {
      throw new StoreError(reason, 'not now');
    };
    const probe = monitor.probe();
    await assert.rejects(store.count('docs', ''));
    assert.equal(await probe, false);
    assert.equal(monitor.reason, 'not now');
    monitor.stop();
    assert.deepEqual(states, [true, false]);
  });
}

test('a warm-up says nothing of the store', async () => {
  const { monitor, store, hooks } = await watched();
  hooks.before = async ({ operation }) => {
    if (operation !== 'probe') return;
    await store.prepare(SPACE.fingerprint);
    throw new StoreError('STORE_UNAVAILABLE', 'not now');
  };
  assert.equal(await monitor.probe(), false);
  monitor.stop();
});

test('a store that is lost is told at once, with the reason, whoever is answered, and serves when it is back', async () => {
  const { monitor, store, states, hooks } = await watched();
  const lost = new StoreError('STORE_LOST', 'the folder /data is gone');
  hooks.before = ({ operation }) => {
    if (operation === 'writeDocuments' || operation === 'probe') throw lost;
  };
  // A check was made a moment ago: failed calls do not ask for one after the other.
  await new Promise((resolve) => setTimeout(resolve, 150));
  await assert.rejects(store.writeDocuments(physicalName('docs', SPACE.fingerprint), []));
  await store.count('docs', '');
  await until(() => states.length === 2);
  assert.equal(monitor.reason, 'the folder /data is gone');
  hooks.before = () => {};
  assert.equal(await monitor.probe(), true);
  assert.equal(monitor.reason, '');
  monitor.stop();
  assert.deepEqual(states, [true, false, true]);
  assert.equal(monitor.reason, 'it is shutting down');
});

test('what nobody foresaw stays in the log', async () => {
  const { monitor } = monitored(() => Promise.reject(new TypeError('secret')));
  await monitor.probe();
  assert.doesNotMatch(monitor.reason, /secret/);
  monitor.stop();
});
