import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { listSupportedBackends } from './onnxruntime.ts';
import { TowerError } from '../errors.ts';
import { temporaryFolder, tinyModel, TINY_WIDTH, writeFiles } from '../testing/tiny-tower.ts';
import { createSession, parseDevice } from './devices.ts';
import type { ModelOptions } from './protocol.ts';

function options(folder: string, device: string): ModelOptions {
  writeFiles(folder, { 'model.onnx': tinyModel() });
  return {
    path: join(folder, 'model.onnx'),
    device,
    threads: 1,
    pooling: 'mean',
    normalize: false,
    dimensions: TINY_WIDTH,
  };
}

function unavailable(pattern: RegExp): (error: unknown) => boolean {
  return (error) =>
    error instanceof TowerError && error.reason === 'DEVICE_UNAVAILABLE' && pattern.test(error.message);
}

test('auto finds a device, and says in one line when it is the CPU', async (context) => {
  const lines: string[] = [];
  const { session, device } = await createSession(options(temporaryFolder(context), 'auto'), (line) =>
    lines.push(line),
  );
  await session.release();
  if (device === 'cpu') {
    assert.equal(lines.length, 1);
    assert.match(lines[0]!, /^device auto: running on the CPU \(.+\)$/);
  } else {
    assert.deepEqual(lines, []);
  }
});

test('the CPU needs no words', async (context) => {
  const lines: string[] = [];
  const { session, device } = await createSession(options(temporaryFolder(context), 'cpu'), (line) =>
    lines.push(line),
  );
  await session.release();
  assert.equal(device, 'cpu');
  assert.deepEqual(lines, []);
});

test('a device that nobody knows is refused with those that there are', async (context) => {
  const folder = temporaryFolder(context);
  for (const name of ['gpu', 'cpu:1', 'cuda:x', 'cuda:1000', 'cuda:-1', '', 'CPU']) {
    await assert.rejects(
      createSession(options(folder, name), () => undefined),
      unavailable(/there is auto, cpu/),
    );
  }
});

test(
  'of several GPUs a number names one, the first by default',
  {
    skip: listSupportedBackends().some(({ name }) => name === 'cuda') ? false : 'this platform has no CUDA',
  },
  () => {
    assert.deepEqual(parseDevice('cuda'), { provider: 'cuda', index: 0 });
    assert.deepEqual(parseDevice('cuda:3'), { provider: 'cuda', index: 3 });
    assert.deepEqual(parseDevice('cpu'), { provider: 'cpu', index: undefined });
  },
);

const absent = listSupportedBackends().find(({ name, bundled }) => name === 'cuda' && !bundled);

test(
  'a device that is not installed is refused with how to install it',
  { skip: absent === undefined ? 'this platform has no CUDA' : false },
  async (context) => {
    const folder = temporaryFolder(context);
    const attempt = createSession(options(folder, 'cuda:7'), () => undefined);
    await assert.rejects(attempt, unavailable(/"cuda:7" is not available: .*(install\.js|CUDA 12)/));
  },
);

test('a broken model is not blamed on the device', async (context) => {
  const folder = temporaryFolder(context);
  const broken = { ...options(folder, 'webgpu'), path: join(folder, 'missing.onnx') };
  if (!listSupportedBackends().some(({ name }) => name === 'webgpu')) broken.device = 'cpu';
  await assert.rejects(
    createSession(broken, () => undefined),
    (error) => error instanceof TowerError && error.reason === 'TOWER_MODEL_UNSUPPORTED',
  );
});
