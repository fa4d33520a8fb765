import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { CallQueue, type Applicant } from '../admission/call-queue.ts';
import { ServiceError } from '../errors.ts';
import { FairQueue } from './fair-queue.ts';

/** What each flow got of so many turns, while all of them always want more. */
function turns(
  weights: Readonly<Record<string, number>>,
  waiting: number,
  count: number,
): Map<string, number> {
  const queue = new FairQueue<{ flow: string }>();
  const got = new Map<string, number>();
  const push = (flow: string): void => queue.push(flow, { flow }, weights[flow]);
  for (const flow of Object.keys(weights)) for (let each = 0; each < waiting; each++) push(flow);
  for (let turn = 0; turn < count; turn++) {
    const next = queue.next()!;
    queue.take(next);
    got.set(next.flow, (got.get(next.flow) ?? 0) + 1);
    push(next.flow);
  }
  return got;
}

test('turns go by weight', () => {
  assert.deepEqual(Object.fromEntries(turns({ a: 1, b: 1, c: 2 }, 5, 400)), { a: 100, b: 100, c: 200 });
});

test('whoever comes among many waits for one turn of each other flow at the most', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 20 }),
      fc.nat({ max: 200 }),
      (lengths, before) => {
        const queue = new FairQueue<string>();
        let number = 0;
        lengths.forEach((length, flow) => {
          for (let each = 0; each < length; each++) queue.push(`flow ${flow}`, `flow ${flow}: ${number++}`);
        });
        for (let turn = 0; turn < Math.min(before, queue.size - 1); turn++) queue.take(queue.next()!);
        queue.push('late', 'late');
        let turns = 0;
        for (let next = queue.next()!; next !== 'late'; next = queue.next()!) {
          queue.take(next);
          turns++;
        }
        assert.ok(turns <= lengths.length, `${turns} turns of ${lengths.length} flows came first`);
      },
    ),
  );
});

test('a flow that wanted nothing for a while is owed nothing', () => {
  const queue = new FairQueue<string>();
  for (let each = 0; each < 10; each++) queue.push('a', `a${each}`);
  for (let each = 0; each < 5; each++) queue.take(queue.next()!);
  for (let each = 0; each < 10; each++) queue.push('b', `b${each}`);
  const order: string[] = [];
  for (let each = 0; each < 6; each++) {
    const next = queue.next()!;
    queue.take(next);
    order.push(next[0]!);
  }
  assert.deepEqual(order.filter((flow) => flow === 'a').length, 3);
});

test('the longest flow gives up its newest, for one that is shorter', () => {
  const queue = new FairQueue<string>();
  for (const item of ['a1', 'a2', 'a3']) queue.push('a', item);
  queue.push('b', 'b1');
  assert.equal(queue.victim('c'), 'a3');
  assert.equal(queue.victim('b'), 'a3');
  assert.equal(queue.victim('a'), undefined);
  queue.remove('a3');
  assert.equal(queue.victim('b'), undefined, 'it would be as long as that one');
});

/**
 * Callers of one service: each calls again as soon as it was answered or refused. Time is what the simulation says.
 *
 * @returns answered calls of each flow, and the longest wait
 */
async function simulate(
  callers: Readonly<Record<string, number>>,
  { slots, serviceMs, totalMs }: { slots: number; serviceMs: number; totalMs: number },
  timers: { tick: (ms: number) => void },
): Promise<Map<string, { answered: number; refused: number }>> {
  let now = 0;
  const queue = new CallQueue({ slots, places: 256, now: () => now });
  const result = new Map<string, { answered: number; refused: number }>();
  const running: { call: Applicant; end: number }[] = [];
  const idle: { flow: string; at: number }[] = [];
  for (const [flow, count] of Object.entries(callers)) {
    result.set(flow, { answered: 0, refused: 0 });
    for (let each = 0; each < count; each++) idle.push({ flow, at: 0 });
  }
  const begin = (flow: string): void => {
    const call: Applicant = { flow, priority: 'interactive', deadline: Infinity };
    const own = result.get(flow)!;
    const start = (): void => void running.push({ call, end: now + serviceMs });
    const refused = (error: unknown): void => {
      assert.ok(error instanceof ServiceError);
      own.refused++;
      idle.push({ flow, at: now + 10 });
    };
    const wait = queue.enter(call);
    if (wait instanceof Promise) wait.then(start, refused);
    else if (wait) refused(wait);
    else start();
  };
  for (; now < totalMs; now++) {
    for (const each of idle.splice(0)) {
      if (each.at <= now) begin(each.flow);
      else idle.push(each);
    }
    await Promise.resolve();
    for (const one of running.splice(0)) {
      if (one.end > now) {
        running.push(one);
        continue;
      }
      const { flow = '' } = one.call;
      result.get(flow)!.answered++;
      queue.leave(one.call);
      idle.push({ flow, at: now });
    }
    timers.tick(1);
    await Promise.resolve();
  }
  return result;
}

test('a tenant with a hundred callers does not starve one with a single caller', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const { timers } = context.mock;
  const alone = await simulate({ b: 1 }, { slots: 4, serviceMs: 20, totalMs: 4000 }, timers);
  const both = await simulate({ a: 100, b: 1 }, { slots: 4, serviceMs: 20, totalMs: 4000 }, timers);
  const { answered, refused } = both.get('b')!;
  // It waits for one call to end, at the most, so that each takes twice as long.
  assert.ok(answered >= alone.get('b')!.answered / 2.5, `${answered} of ${alone.get('b')!.answered}`);
  assert.ok(refused <= answered / 10, `${refused} refused, ${answered} answered`);
  const others = both.get('a')!.answered;
  assert.ok(others + answered >= 0.9 * ((4 * 4000) / 20), `${others + answered} in all`);
});
