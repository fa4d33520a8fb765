import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Worker } from 'node:worker_threads';
import { DatabaseSync } from '@photostructure/sqlite';
import { put, SPACE, TENANT } from '../contract/stores.ts';
import { StoreError } from '../errors.ts';
import { type EmbeddedStore, openEmbeddedStore } from './embedded-store.ts';

let directory: string;
let store: EmbeddedStore;
let other: InstanceType<typeof DatabaseSync>;

before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'scalingnote-worker-'));
  store = await openEmbeddedStore({ directory, busyTimeoutMs: 60_000 });
  await store.ensureCollection('docs', SPACE);
  other = new DatabaseSync(join(directory, 'store.db'));
});

after(async () => {
  other.close();
  await store.close();
  rmSync(directory, { recursive: true });
});

describe('the worker', () => {
  it('does not block the event loop while it waits, and skips calls that are cancelled meanwhile', async () => {
    other.exec('BEGIN IMMEDIATE');
    const controller = new AbortController();
    const reason = new Error('not needed any more');
    let blocked = true;
    const first = store.writeDocuments('docs', [put('first', [[1, 0, 0, 0]])]).finally(() => {
      blocked = false;
    });
    const cancelled = store.writeDocuments('docs', [put('cancelled', [[1, 0, 0, 0]])], {
      signal: controller.signal,
    });
    const late = store.writeDocuments('docs', [put('late', [[1, 0, 0, 0]])], { deadline: Date.now() + 20 });
    // Wait for it at once: on a slow machine it rejects before a later line could wait for it.
    const lateTimesOut = assert.rejects(late, { name: 'TimeoutError' });
    const last = store.count('docs', TENANT);
    await sleep(5);
    controller.abort(reason);
    await assert.rejects(cancelled, reason);
    await lateTimesOut;
    assert.equal(blocked, true, 'the first write is still waiting for the lock');
    other.exec('COMMIT');
    assert.deepEqual(await first, [{ outcome: 'indexed' }]);
    assert.deepEqual(await last, { documents: 1, passages: 1 });
  });

  it('can die: its calls fail with STORE_UNAVAILABLE, acknowledged writes stay, and the store goes on', async () => {
    const workers: Worker[] = [];
    const onWorker = (worker: Worker): void => void workers.push(worker);
    process.on('worker', onWorker);
    const warnings: string[] = [];
    const mortal = await openEmbeddedStore({ directory, log: { warn: (line) => warnings.push(line) } });
    await mortal.writeDocuments('docs', [put('acknowledged', [[0, 0, 0, 1]])]);
    await mortal.prepare(SPACE.fingerprint);
    const vector = Float32Array.of(0, 0, 0, 1);
    const search = () => mortal.search('docs', { tenant: TENANT, vector, limit: 1 });

    void workers[0]!.terminate();
    await assert.rejects(search(), (error) => {
      assert.ok(error instanceof StoreError);
      assert.deepEqual([error.reason, error.retryable], ['STORE_UNAVAILABLE', true]);
      assert.match(error.message, /its thread died.*; try again/);
      return true;
    });
    await mortal.probe();
    assert.equal((await search())[0]?.documentId, 'acknowledged');
    assert.equal(workers.length, 2, 'one thread at a time');
    assert.equal(warnings.length, 1);
    process.off('worker', onWorker);
    await mortal.close();
    await assert.rejects(search(), /it has been closed/);
    assert.equal(warnings.length, 1);
  });

  it('answers calls in the order they were made', async () => {
    const order: number[] = [];
    await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        await store.writeDocuments('docs', [put('same', [[1, 0, 0, 0]], { version: index })]);
        order.push(index);
      }),
    );
    assert.deepEqual(
      order,
      Array.from({ length: 20 }, (_, index) => index),
    );
  });
});
