import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { Budget, type Share } from './budget.ts';

test('what fits is admitted at once, what does not waits for room', async () => {
  const budget = new Budget(100);
  const share = budget.open();
  assert.equal(budget.admit(share, 99), true);
  assert.equal(budget.admit(share, 50), true, 'one may exceed what is left');
  const waiting = budget.admit(share, 1);
  assert.ok(waiting instanceof Promise);
  budget.release(share, 49);
  assert.equal(budget.held, 100);
  budget.release(share, 50);
  assert.equal(await waiting, true);
  assert.equal(budget.held, 51);
});

test('room goes to the stream that holds least, and between equals to the one that waits longest', async () => {
  const budget = new Budget(10);
  const [greedy, second, third] = [budget.open(), budget.open(), budget.open()];
  assert.equal(budget.admit(greedy, 10), true);
  const order: string[] = [];
  for (const [name, share] of Object.entries({ greedy, second, third })) {
    void Promise.resolve(budget.admit(share, 5)).then(() => order.push(name));
  }
  budget.release(greedy, 1);
  budget.release(greedy, 5);
  await new Promise(setImmediate);
  assert.deepEqual(order, ['second', 'third']);
});

test('closing gives everything back, answers who waits, and ends the share', async () => {
  const budget = new Budget(10);
  const [leaving, staying] = [budget.open(), budget.open()];
  assert.equal(budget.admit(leaving, 10), true);
  const refused = budget.admit(leaving, 1);
  const granted = budget.admit(staying, 3);
  budget.close(leaving);
  assert.equal(await refused, false);
  assert.equal(await granted, true);
  budget.release(leaving, 10);
  assert.equal(budget.held, 3, 'a late release of a closed share changes nothing');
  assert.equal(budget.admit(leaving, 1), false);
});

test('in flight are at most the limit and one operation, and everybody gets in', async () => {
  const work = fc.array(fc.record({ stream: fc.nat(3), tokens: fc.integer({ min: 1, max: 40 }) }), {
    maxLength: 60,
  });
  await fc.assert(
    fc.asyncProperty(work, async (operations) => {
      const budget = new Budget(50);
      const shares = [0, 1, 2, 3].map(() => budget.open());
      const held: { share: Share; tokens: number }[] = [];
      const streams = shares.map(async (share, stream) => {
        for (const { tokens } of operations.filter((operation) => operation.stream === stream)) {
          if (await budget.admit(share, tokens)) held.push({ share, tokens });
          assert.ok(budget.held < 50 + 40);
          assert.equal(
            budget.held,
            shares.reduce((sum, { held: part }) => sum + part, 0),
          );
        }
      });
      let waiting = streams.length;
      for (const stream of streams) void stream.finally(() => waiting--);
      const release = async (): Promise<void> => {
        await new Promise(setImmediate);
        const next = held.shift();
        if (next) budget.release(next.share, next.tokens);
        if (waiting > 0) await release();
      };
      await release();
      await Promise.all(streams);
      for (const { share, tokens } of held) budget.release(share, tokens);
      assert.equal(budget.held, 0);
    }),
    { numRuns: 100 },
  );
});
