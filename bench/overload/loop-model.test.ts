import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Model, play } from './loop-model.ts';

/** About what `Encode` with the lookup tower costs, so that 4 650 calls a second are all that there can be. */
const ENCODE: Omit<Model, 'rate' | 'connections'> = {
  seconds: 2,
  head: 0.015,
  answer: 0.2,
  refuse: 0.045,
  slots: 16,
  places: 256,
  deadline: 1_000,
  seesLoop: true,
};
const CAPACITY = 1_000 / (ENCODE.head + ENCODE.answer);

for (const connections of [1, 8, 64]) {
  test(`${connections} connections: what a loop can’t do it refuses soon, and does the rest`, async () => {
    const half = await play({ ...ENCODE, connections, rate: CAPACITY / 2 });
    assert.equal(half.refused + half.gaveUp, 0);
    const full = await play({ ...ENCODE, connections, rate: CAPACITY });
    assert.ok(full.answered > 0.94 * CAPACITY, `${full.answered} answered`);
    // What the goals are for: at most 6 000 calls a second.
    const most = await play({ ...ENCODE, connections, rate: 6_000 });
    assert.ok(most.answered > 0.85 * full.answered, `${most.answered} of ${full.answered}`);
    assert.equal(most.gaveUp, 0);
    assert.ok(most.p99 < 100, `p99 ${most.p99}`);
    assert.ok(most.refusedP99 < 100, `refusals' p99 ${most.refusedP99}`);
    // Refusals take what answers would: goodput falls with what is offered, and does not collapse.
    const twice = await play({ ...ENCODE, connections, rate: 2 * CAPACITY });
    const left = (1_000 - 2 * CAPACITY * (ENCODE.head + ENCODE.refuse)) / (ENCODE.answer - ENCODE.refuse);
    assert.ok(twice.answered > 0.9 * left, `${twice.answered} of ${left}`);
  });
}

test('a queue that does not see the loop lets callers wait there until they give up', async () => {
  const blind = await play({ ...ENCODE, connections: 8, rate: 6_000, seesLoop: false });
  assert.ok(blind.p99 > 300, `p99 ${blind.p99}`);
});
