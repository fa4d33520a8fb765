import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import * as fc from 'fast-check';
import type { BatchingLimits } from './batching.ts';
import { Encoder } from './encoder.ts';
import { TowerError } from './errors.ts';
import type { Session, TokenBatch } from './session/protocol.ts';
import type { BatchStats, Tokens } from './tower.ts';

/** A model whose vector is [number of tokens, sum of ids], and whose runs end when the test says. */
class FakeSession implements Session {
  readonly device = 'cpu';
  readonly runs: { lengths: number[]; finish: (error?: Error) => void }[] = [];
  closed = 0;
  /** Ends runs by itself. */
  auto = false;
  /** A token that the model fails on. */
  poison: number | undefined;

  async run({ ids, lengths }: TokenBatch): Promise<Float32Array<ArrayBuffer>> {
    const vectors: number[] = [];
    let start = 0;
    for (const length of lengths) {
      const input = ids.subarray(start, start + length);
      vectors.push(
        length,
        input.reduce((sum, id) => sum + id, 0),
      );
      start += length;
    }
    const poisoned = this.poison !== undefined && ids.includes(this.poison);
    await new Promise<void>((resolve, reject) => {
      this.runs.push({
        lengths: [...lengths],
        finish: (error) => (error === undefined ? resolve() : reject(error)),
      });
      if (poisoned) reject(new TowerError('ENCODER_FAILED', 'out of range'));
      else if (this.auto) resolve();
    });
    return Float32Array.from(vectors);
  }

  async close(): Promise<void> {
    this.closed++;
  }
}

function setUp(limits: Partial<BatchingLimits> = {}): { session: FakeSession; encoder: Encoder } {
  const session = new FakeSession();
  return {
    session,
    encoder: new Encoder(session, 2, { maxBatchTokens: 100, maxWaitMs: 0, maxQueue: 1_000, ...limits }),
  };
}

function tokens(length: number, id = 1): Tokens {
  return { ids: Array.from({ length }, () => id), truncated: false };
}

function reason(expected: string): (error: unknown) => boolean {
  return (error) => error instanceof TowerError && error.reason === expected;
}

test('what arrives in one turn of the event loop is one batch, whoever asks', async () => {
  const { session, encoder } = setUp();
  session.auto = true;
  const [a, b] = await Promise.all([encoder.encode(tokens(3)), encoder.encode(tokens(2, 5))]);
  assert.deepEqual(
    session.runs.map(({ lengths }) => lengths),
    [[2, 3]],
  );
  assert.deepEqual([...a.vector], [3, 3]);
  assert.deepEqual([...b.vector], [2, 10]);
});

test('while a run is under way, inputs gather for the next', async () => {
  const { session, encoder } = setUp();
  const first = encoder.encode(tokens(1));
  await turn();
  const others = [encoder.encode(tokens(4)), encoder.encode(tokens(3)), encoder.encode(tokens(2))];
  await turn();
  assert.deepEqual(
    session.runs.map(({ lengths }) => lengths),
    [[1]],
  );
  session.auto = true;
  session.runs[0]!.finish();
  await Promise.all([first, ...others]);
  assert.deepEqual(
    session.runs.map(({ lengths }) => lengths),
    [[1], [2, 3, 4]],
  );
});

test('an idle model waits for company no longer than it is told', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const { session, encoder } = setUp({ maxWaitMs: 50 });
  session.auto = true;
  const both = [encoder.encode(tokens(1)), encoder.encode(tokens(2))];
  await turn();
  assert.equal(session.runs.length, 0);
  context.mock.timers.tick(50);
  await Promise.all(both);
  assert.deepEqual(
    session.runs.map(({ lengths }) => lengths),
    [[1, 2]],
  );
});

test('a full batch does not wait, what is left of it does', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const { session, encoder } = setUp({ maxWaitMs: 50 });
  session.auto = true;
  const full = [encoder.encode(tokens(60)), encoder.encode(tokens(60))];
  await full[0];
  await turn();
  assert.equal(session.runs.length, 1);
  context.mock.timers.tick(50);
  await full[1];
  assert.equal(session.runs.length, 2);
});

test('past its bound the queue refuses, and says when to come back', async () => {
  const { session, encoder } = setUp({ maxQueue: 2 });
  const first = encoder.encode(tokens(1));
  await turn();
  const waiting = [encoder.encode(tokens(1)), encoder.encode(tokens(1))];
  await assert.rejects(encoder.encode(tokens(1)), (error) => {
    assert.ok(reason('ENCODER_OVERLOADED')(error));
    return error instanceof TowerError && error.retryDelayMs !== undefined && error.retryDelayMs > 0;
  });
  session.auto = true;
  session.runs[0]!.finish();
  await Promise.all([first, ...waiting]);
  await encoder.encode(tokens(1));
});

test('an aborted input that still waits is dropped, one that runs is not', async () => {
  const { session, encoder } = setUp();
  const running = new AbortController();
  const waiting = new AbortController();
  const first = encoder.encode(tokens(1), { signal: running.signal });
  await turn();
  const second = encoder.encode(tokens(2), { signal: waiting.signal });
  const third = encoder.encode(tokens(3));
  const gone = new Error('gone');
  running.abort(gone);
  waiting.abort(gone);
  await assert.rejects(second, gone);
  session.auto = true;
  session.runs[0]!.finish();
  await Promise.all([first, third]);
  assert.deepEqual(
    session.runs.map(({ lengths }) => lengths),
    [[1], [3]],
  );
  await assert.rejects(encoder.encode(tokens(1), { signal: AbortSignal.abort(gone) }), gone);
});

test('close waits for the run, refuses what waits and what comes, frees the model once', async () => {
  const { session, encoder } = setUp();
  const running = encoder.encode(tokens(1));
  await turn();
  const waiting = encoder.encode(tokens(1));
  const closing = encoder.close();
  await assert.rejects(waiting, reason('ENCODER_CLOSED'));
  await assert.rejects(encoder.encode(tokens(1)), reason('ENCODER_CLOSED'));
  assert.equal(session.closed, 0);
  session.runs[0]!.finish();
  await running;
  await Promise.all([closing, encoder.close()]);
  assert.equal(session.closed, 1);
  assert.equal(session.runs.length, 1);
});

test('an input that is closed before its first run is refused', async () => {
  const { session, encoder } = setUp();
  const waiting = encoder.encode(tokens(1));
  await Promise.all([assert.rejects(waiting, reason('ENCODER_CLOSED')), encoder.close()]);
  assert.equal(session.runs.length, 0);
});

test('one bad input fails alone', async () => {
  const { session, encoder } = setUp();
  session.auto = true;
  session.poison = 13;
  const outcomes = await Promise.allSettled([1, 2, 13, 4, 5].map((id) => encoder.encode(tokens(3, id))));
  assert.deepEqual(
    outcomes.map((outcome) =>
      outcome.status === 'fulfilled' ? outcome.value.vector[1] : outcome.reason.reason,
    ),
    [3, 6, 'ENCODER_FAILED', 12, 15],
  );
});

test('when the worker dies, its batch rejects and later ones go on', async () => {
  const { session, encoder } = setUp();
  const first = encoder.encode(tokens(1));
  await turn();
  const second = encoder.encode(tokens(2));
  session.auto = true;
  session.runs[0]!.finish(new TowerError('ENCODER_CLOSED', 'the thread died'));
  await assert.rejects(first, reason('ENCODER_CLOSED'));
  assert.deepEqual([...(await second).vector], [2, 2]);
});

test('listeners get the size, tokens and padding of each run', async () => {
  const { session, encoder } = setUp();
  session.auto = true;
  const stats: BatchStats[] = [];
  encoder.onBatch((each) => stats.push(each));
  await Promise.all([1, 3, 4].map((length) => encoder.encode(tokens(length))));
  assert.equal(stats.length, 1);
  const { size, tokens: total, paddingRatio, encodeMs } = stats[0]!;
  assert.deepEqual({ size, total, paddingRatio }, { size: 3, total: 8, paddingRatio: 1 - 8 / 12 });
  assert.ok(encodeMs >= 0);
});

test('encodeAll gives a row for each input, in order, and tells how far it is', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(40), fc.nat(9))),
      fc.integer({ min: 1, max: 20 }),
      async (inputs, maxQueue) => {
        const { session, encoder } = setUp({ maxQueue });
        session.auto = true;
        const progress: number[] = [];
        const rows = await encoder.encodeAll(
          inputs.map(([length, id]) => tokens(length, id)),
          { onProgress: (done) => progress.push(done) },
        );
        assert.deepEqual(
          [...rows],
          inputs.flatMap(([length, id]) => [length, length * id]),
        );
        assert.deepEqual(
          progress,
          progress.toSorted((a, b) => a - b),
        );
        assert.equal(progress.at(-1) ?? 0, inputs.length);
      },
    ),
    { numRuns: 30 },
  );
});

test('encodeAll ends when it is told to', async () => {
  const { session, encoder } = setUp();
  const controller = new AbortController();
  const all = encoder.encodeAll(
    Array.from({ length: 50 }, () => tokens(50)),
    { signal: controller.signal },
  );
  await turn();
  const gone = new Error('gone');
  controller.abort(gone);
  await assert.rejects(all, gone);
  session.auto = true;
  session.runs[0]!.finish();
  await encoder.close();
  assert.equal(session.runs.length, 1);
});
