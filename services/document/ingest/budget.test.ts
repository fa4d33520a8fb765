import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { Budget, type Share } from './budget.ts';

test('what fits is admitted at once, what does not waits for room', async () => {
  const budget = new Budget(800);
  const share = budget.open();
  assert.equal(budget.longest, 100);
  for (let count = 0; count < 7; count++) assert.equal(budget.admit(share, 100), true);
  assert.equal(budget.admit(share, 99), true);
  assert.equal(budget.admit(share, 50), true, 'one may exceed what is left');
  const waiting = budget.admit(share, 1);
  assert.ok(waiting instanceof Promise);
  budget.release(share, 49);
  assert.equal(budget.held, 800);
  budget.release(share, 50);
  assert.equal(await waiting, true);
  assert.equal(budget.held, 751);
});

/** A budget that one stream has spent. */
function spent(): { budget: Budget; greedy: Share } {
  const budget = new Budget(800);
  const greedy = budget.open('greedy');
  for (let count = 0; count < 8; count++) assert.equal(budget.admit(greedy, 100), true);
  return { budget, greedy };
}

/** Notes the names of shares in the order in which they are admitted. */
function inOrder(budget: Budget, shares: Record<string, Share>, tokens: number): string[] {
  const order: string[] = [];
  for (const [name, share] of Object.entries(shares)) {
    void Promise.resolve(budget.admit(share, tokens)).then(() => order.push(name));
  }
  return order;
}

test('the first operation of a stream does not wait, unless another stream waits for its first', async () => {
  const { budget } = spent();
  const [first, second, third] = [budget.open(), budget.open(), budget.open()];
  assert.equal(budget.admit(first, 99), true);
  assert.ok(budget.admit(first, 1) instanceof Promise, 'the next one does');
  const large = budget.admit(second, 100);
  assert.ok(large instanceof Promise, 'a large one does');
  assert.ok(budget.admit(third, 1) instanceof Promise, 'nor may it pass the large one for ever');
});

test('streams exceed the limit once over, and no more', () => {
  const { budget } = spent();
  let admitted = 0;
  while (budget.admit(budget.open(), 99) === true) admitted++;
  assert.equal(admitted, Math.ceil(800 / 99));
});

test('room goes to the stream that holds least, and between equals to the one that waits longest', async () => {
  const { budget, greedy } = spent();
  const [second, third] = [budget.open('greedy'), budget.open('greedy')];
  for (const share of [second, third]) assert.equal(budget.admit(share, 50), true);
  const order = inOrder(budget, { greedy, second, third }, 60);
  for (let count = 0; count < 2; count++) budget.release(greedy, 100);
  await new Promise(setImmediate);
  assert.deepEqual(order, ['second', 'third']);
});

test('room goes to the tenant that holds least, however many streams others have', async () => {
  const { budget, greedy } = spent();
  const more = budget.open('greedy');
  const modest = budget.open('modest');
  for (const share of [more, modest]) assert.equal(budget.admit(share, 50), true);
  const order = inOrder(budget, { more, modest }, 60);
  for (let count = 0; count < 2; count++) budget.release(greedy, 100);
  await new Promise(setImmediate);
  assert.deepEqual(order, ['modest', 'more']);
});

test('a long document takes a part of the room, and its excess is counted by itself', async () => {
  const budget = new Budget(800, { excess: 5000 });
  const [long, longer, others] = [budget.open('a'), budget.open('b'), budget.open('c')];
  assert.equal(budget.admit(long, 4100), true);
  assert.equal(budget.held, 4100);
  const waiting = budget.admit(longer, 1200);
  assert.ok(waiting instanceof Promise, 'the excess of both is too much');
  for (let count = 0; count < 7; count++) assert.equal(budget.admit(others, 100), true);
  budget.release(long, 4100);
  assert.equal(await waiting, true);
  assert.equal(budget.held, 1200 + 700);
  budget.close(longer);
  assert.equal(budget.admit(long, 9000), true, 'one past the limit goes alone');
  budget.close(long);
  assert.equal(budget.held, 700);
});

test('a long document that waits holds nothing that others could wait for', async () => {
  const budget = new Budget(800, { excess: 1000 });
  const [long, waiting] = [budget.open('a'), budget.open('b')];
  assert.equal(budget.admit(long, 1100), true);
  const refused = budget.admit(waiting, 1100);
  assert.deepEqual([waiting.held, waiting.excess], [0, 0]);
  budget.close(waiting);
  assert.equal(await refused, false);
  assert.equal(budget.held, 1100);
});

test('a long document is not passed for ever by shorter ones that need less room', async () => {
  const budget = new Budget(800, { excess: 1000 });
  const [first, second, longest] = [budget.open('a'), budget.open('a'), budget.open('b')];
  assert.equal(budget.admit(first, 500), true);
  const waiting = budget.admit(longest, 2000);
  assert.ok(waiting instanceof Promise);
  const behind = budget.admit(second, 500);
  assert.ok(behind instanceof Promise, 'there would be room for it');
  budget.release(first, 500);
  assert.equal(await waiting, true);
  budget.release(longest, 2000);
  assert.equal(await behind, true);
});

test('closing gives everything back, answers who waits, and ends the share', async () => {
  const { budget, greedy: leaving } = spent();
  const staying = budget.open();
  const refused = budget.admit(leaving, 1);
  const granted = budget.admit(staying, 100);
  budget.close(leaving);
  assert.equal(await refused, false);
  assert.equal(await granted, true);
  budget.release(leaving, 10);
  budget.close(leaving);
  assert.equal(budget.held, 100, 'a late release of a closed share changes nothing');
  assert.equal(budget.admit(leaving, 1), false);
});

test('what is in flight is bounded, and everybody gets in', async () => {
  const work = fc.array(fc.record({ stream: fc.nat(3), tokens: fc.integer({ min: 1, max: 400 }) }), {
    maxLength: 60,
  });
  await fc.assert(
    fc.asyncProperty(work, async (operations) => {
      const budget = new Budget(400, { excess: 300 });
      const shares = [0, 1, 2, 3].map((stream) => budget.open(`${stream % 2}`));
      const held: { share: Share; tokens: number }[] = [];
      const streams = shares.map(async (share, stream) => {
        for (const { tokens } of operations.filter((operation) => operation.stream === stream)) {
          if (await budget.admit(share, tokens)) held.push({ share, tokens });
          assert.ok(budget.held < 2 * 400 + 50 + 350);
          assert.equal(
            budget.held,
            shares.reduce((sum, { held: part, excess }) => sum + part + excess, 0),
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
