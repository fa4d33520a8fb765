import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { withLock } from './lock.ts';
import { temporaryFolder } from './testing/tiny-tower.ts';

const times = { heartbeatMs: 20, staleMs: 200, pollMs: 5 };

test('one at a time, and nothing stays behind', async (context) => {
  const folder = temporaryFolder(context);
  let inside = 0;
  let most = 0;
  const results = await Promise.all(
    [1, 2, 3, 4].map((value) =>
      withLock(
        join(folder, 'lock'),
        async () => {
          most = Math.max(most, ++inside);
          await delay(20);
          inside--;
          return value;
        },
        { times },
      ),
    ),
  );
  assert.deepEqual(results, [1, 2, 3, 4]);
  assert.equal(most, 1);
  assert.deepEqual(readdirSync(folder), []);
});

test('a lock is released when what it guards fails', async (context) => {
  const path = join(temporaryFolder(context), 'lock');
  const failure = new Error('failed');
  await assert.rejects(
    withLock(path, () => Promise.reject(failure), { times }),
    failure,
  );
  assert.equal(await withLock(path, () => Promise.resolve(1), { times }), 1);
});

test('what a dead process of this machine left is taken over at once', async (context) => {
  const folder = temporaryFolder(context);
  const path = join(folder, 'lock');
  const { pid } = spawnSync(process.execPath, ['--version']);
  writeFileSync(path, JSON.stringify({ host: hostname(), pid, token: 'x' }));
  let waits = 0;
  assert.equal(await withLock(path, () => Promise.resolve(1), { onWait: () => waits++ }), 1);
  assert.equal(waits, 0);
  assert.deepEqual(readdirSync(folder), []);
});

test('a holder elsewhere that is silent is taken over in time, and waiting is told once', async (context) => {
  for (const contents of [JSON.stringify({ host: 'elsewhere', pid: 1, token: 'x' }), '']) {
    const folder = temporaryFolder(context);
    const path = join(folder, 'lock');
    writeFileSync(path, contents);
    let waits = 0;
    assert.equal(await withLock(path, () => Promise.resolve(1), { times, onWait: () => waits++ }), 1);
    assert.equal(waits, 1);
    assert.deepEqual(readdirSync(folder), []);
  }
});

test('a holder that lives keeps its lock for as long as it needs', async (context) => {
  const path = join(temporaryFolder(context), 'lock');
  const order: string[] = [];
  const first = withLock(
    path,
    async () => {
      await delay(3 * times.staleMs);
      order.push('first');
    },
    { times },
  );
  await delay(50);
  await withLock(path, async () => void order.push('second'), { times });
  await first;
  assert.deepEqual(order, ['first', 'second']);
});
