import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TowerError } from '../errors.ts';
import type { Session } from './protocol.ts';
import { warmUp } from './warm-up.ts';

/** An accelerator that has room for so many positions at once. */
function accelerator(room = Infinity): { session: Session; runs: string[]; closed: () => number } {
  let closed = 0;
  const runs: string[] = [];
  const session: Session = {
    device: 'cuda:0',
    run: async ({ ids, lengths }) => {
      assert.equal(
        ids.length,
        lengths.reduce((sum, length) => sum + length, 0),
      );
      assert.ok(ids.every((id) => id === 101 || id === 7));
      runs.push(`${lengths.length} × ${lengths[0]}`);
      if (ids.length > room) throw new TowerError('ENCODER_FAILED', 'CUDA out of memory');
      return new Float32Array(lengths.length);
    },
    close: async () => void closed++,
  };
  return { session, runs, closed: () => closed };
}

function options(lines: string[] = []) {
  return {
    ids: [101, 7],
    maxTokens: 256,
    maxBatchTokens: 16_384,
    maxInputs: 1_000,
    log: (line: string) => void lines.push(line),
  };
}

test('the largest batch of each length has run once, and a short input alone', async () => {
  const { session, runs } = accelerator();
  const lines: string[] = [];
  assert.equal(await warmUp(session, options(lines)), 16_384);
  assert.deepEqual(runs, ['64 × 256', '128 × 128', '256 × 64', '512 × 32', '1000 × 16', '1 × 16']);
  assert.deepEqual(lines, []);
});

test('an input is no longer than the model takes', async () => {
  const { session, runs } = accelerator();
  await warmUp(session, { ...options(), maxTokens: 12 });
  assert.deepEqual(runs, ['1000 × 12', '1 × 12']);
});

test('where a text must not have neighbours, each runs alone', async () => {
  const { session, runs } = accelerator();
  await warmUp(session, { ...options(), maxTokens: 40, maxBatchTokens: 1 });
  assert.deepEqual(runs, ['1 × 40', '1 × 32', '1 × 16', '1 × 16']);
});

test('batches are halved until they fit, in words', async () => {
  const { session, runs } = accelerator(5_000);
  const lines: string[] = [];
  assert.equal(await warmUp(session, options(lines)), 4_096);
  assert.deepEqual(runs.slice(0, 4), ['64 × 256', '32 × 256', '16 × 256', '32 × 128']);
  assert.deepEqual(lines, ['cuda:0 runs batches of 4096 positions: one of 16384 failed']);
});

test('a device without room for one input is refused, and its session closed', async () => {
  const { session, closed } = accelerator(200);
  await assert.rejects(
    warmUp(session, options()),
    (error) =>
      error instanceof TowerError &&
      error.reason === 'DEVICE_UNAVAILABLE' &&
      /"cuda:0" can't run one input of 256 tokens: .*out of memory/.test(error.message),
  );
  assert.equal(closed(), 1);
});

test('what is no lack of room is no reason for smaller batches', async () => {
  const { session, runs } = accelerator();
  const ended = new TowerError('ENCODER_CLOSED', 'the thread ended');
  const dead: Session = {
    ...session,
    run: async (batch) => {
      await session.run(batch);
      throw ended;
    },
  };
  await assert.rejects(warmUp(dead, options()), ended);
  assert.equal(runs.length, 1);
});
