import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import { Remote } from './remote.ts';
import type { Counter } from './testing/counter.ts';

let thread: Remote<Counter>;

beforeEach(() => {
  thread = new Remote<Counter>(new Worker(new URL('./testing/counter.js', import.meta.url)), undefined, {
    revive: ({ message }) => new Error(message),
    ended: (how) => new Error(`ended: ${how}`),
  });
});

afterEach(() => thread.close());

/** Makes calls that all wait when the first one begins. */
async function atOnce(make: () => Promise<unknown>[]): Promise<unknown[]> {
  const cells = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  const held = thread.call('hold', [cells]);
  const calls = make();
  Atomics.store(cells, 0, 1);
  Atomics.notify(cells, 0);
  await held;
  return await Promise.all(calls);
}

describe('a call that works in slices', () => {
  it('lets every call that waits go before its next slice', async () => {
    const answers = await atOnce(() => [
      thread.call('count', ['a', 4]),
      ...['x', 'y', 'z'].map((name) => thread.call('mark', [name])),
    ]);
    assert.deepEqual(answers, [4, undefined, undefined, undefined]);
    assert.deepEqual(await thread.call('events', []), ['a1', 'x', 'y', 'z', 'a2', 'a3', 'a4', 'a ends']);
  });

  it('gets its slice although calls never cease to come', async () => {
    const state = { counting: true };
    const counted = thread.call('count', ['a', 20]).finally(() => {
      state.counting = false;
    });
    while (state.counting) await thread.call('mark', ['m']);
    await counted;
    const events = await thread.call('events', []);
    const last = events.indexOf('a20');
    const between = events.slice(0, last).filter((event) => event === 'm').length;
    assert.ok(between <= 20 + 1, `${between} calls came before the twentieth slice`);
  });

  it('takes turns with others of its kind', async () => {
    await atOnce(() => [thread.call('count', ['a', 3]), thread.call('count', ['b', 3])]);
    const events = await thread.call('events', []);
    assert.deepEqual(
      events.filter((event) => !event.endsWith('ends')),
      ['a1', 'b1', 'a2', 'b2', 'a3', 'b3'],
    );
  });

  it('ends at its next slice when it is cancelled', async () => {
    const controller = new AbortController();
    const cancelled = thread.call('count', ['a', Number.MAX_SAFE_INTEGER], { signal: controller.signal });
    await thread.call('mark', ['begun']);
    controller.abort(new Error('not needed any more'));
    await assert.rejects(cancelled, /not needed any more/);
    await thread.call('mark', ['after']);
    const events = await thread.call('events', []);
    assert.ok(events.includes('a ends'));
    assert.ok(events.indexOf('a ends') < events.indexOf('after'));
  });

  it('ends when its deadline has passed', async () => {
    const counting = thread.call('count', ['a', Number.MAX_SAFE_INTEGER], { deadline: Date.now() + 50 });
    await assert.rejects(counting, { name: 'TimeoutError' });
    const events = await thread.call('events', []);
    // On a busy machine it may not have begun at all.
    assert.equal(events.includes('a1'), events.includes('a ends'));
  });

  it('fails with what it throws in a later slice', async () => {
    await assert.rejects(thread.call('fail', []), /failed in the second slice/);
    await thread.call('mark', ['alive']);
  });

  it('is finished before the thread closes', async () => {
    const counting = thread.call('count', ['a', 50]);
    await Promise.all([counting, thread.close()]);
    assert.equal(await counting, 50);
  });
});
