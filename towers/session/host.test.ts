import assert from 'node:assert/strict';
import { once } from 'node:events';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import type { Worker } from 'node:worker_threads';
import { TowerError } from '../errors.ts';
import { temporaryFolder, tinyModel, TINY_WIDTH, tinyVector, writeFiles } from '../testing/tiny-tower.ts';
import { WorkerSession } from './host.ts';
import type { ModelOptions, TokenBatch } from './protocol.ts';

function options(context: TestContext, changes: Partial<ModelOptions> = {}): ModelOptions {
  const folder = temporaryFolder(context);
  writeFiles(folder, { 'model.onnx': tinyModel() });
  return {
    path: join(folder, 'model.onnx'),
    device: 'cpu',
    threads: 1,
    pooling: 'mean',
    normalize: false,
    dimensions: TINY_WIDTH,
    ...changes,
  };
}

/** Starts a session, and gives the thread behind it. */
async function start(context: TestContext): Promise<{ session: WorkerSession; worker: Worker }> {
  const created = once(process, 'worker');
  const session = await WorkerSession.start(options(context), () => undefined);
  const [worker] = (await created) as [Worker];
  return { session, worker };
}

function one(id: number): TokenBatch {
  return { ids: Int32Array.of(id), lengths: Int32Array.of(1) };
}

function reason(expected: string): (error: unknown) => boolean {
  return (error) => error instanceof TowerError && error.reason === expected;
}

test('vectors come back from the thread, arrays are handed over', async (context) => {
  const { session } = await start(context);
  const batch = one(6);
  assert.deepEqual([...(await session.run(batch))], tinyVector(6));
  assert.equal(batch.ids.length, 0);
  assert.equal(session.device, 'cpu');
  await session.close();
});

test('when the thread dies, its run rejects, and the next starts another', async (context) => {
  // A run may end before the thread does; then it is tried again.
  for (let attempt = 0; attempt < 50; attempt++) {
    const { session, worker } = await start(context);
    const running = session.run(one(1));
    const [run] = await Promise.allSettled([running, worker.terminate()]);
    assert.deepEqual([...(await session.run(one(2)))], tinyVector(2));
    await session.close();
    if (run.status === 'fulfilled') continue;
    assert.ok(reason('ENCODER_CLOSED')(run.reason));
    return;
  }
  assert.fail('no run was caught by the death of its thread');
});

test('a thread that died between two runs is not missed', async (context) => {
  const { session, worker } = await start(context);
  await worker.terminate();
  assert.deepEqual([...(await session.run(one(3)))], tinyVector(3));
  await session.close();
});

test('an error of the model crosses the threads with its reason', async (context) => {
  const { session } = await start(context);
  await assert.rejects(session.run(one(1_000_000)), reason('ENCODER_FAILED'));
  assert.deepEqual([...(await session.run(one(4)))], tinyVector(4));
  await session.close();
});

test('a model that does not load ends the thread', async (context) => {
  const created = once(process, 'worker');
  const broken = options(context, { path: '/nowhere/model.onnx' });
  await assert.rejects(
    WorkerSession.start(broken, () => undefined),
    reason('TOWER_MODEL_UNSUPPORTED'),
  );
  const [worker] = (await created) as [Worker];
  assert.equal(worker.threadId, -1);
});

test('close works on a thread that is gone', async (context) => {
  const { session, worker } = await start(context);
  await worker.terminate();
  await session.close();
});
