import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { ServiceError } from '../errors.ts';
import {
  type Applicant,
  BURST_MS,
  CallQueue,
  OVERLOAD_WAIT_MS,
  type Priority,
  RETRY_DELAY_MS,
} from './call-queue.ts';
import { LoopTurns } from './loop-turns.ts';

/** A queue whose clock stands still until it is moved. */
function made(slots: number, places = 100) {
  let now = 1000;
  const queue = new CallQueue({ slots, places, now: () => now });
  const outcomes: string[] = [];
  return {
    queue,
    outcomes,
    pass: (ms: number): void => void (now += ms),
    call: (priority: Priority = 'interactive', deadlineMs = Infinity): Applicant => ({
      priority,
      deadline: now + deadlineMs,
    }),
    /** Follows a call that has to wait. */
    wait: (name: string, call: Applicant): Applicant => {
      const entered = queue.enter(call);
      assert.ok(entered instanceof Promise, `${name} waits`);
      entered.then(
        () => outcomes.push(`${name} runs`),
        (error: ServiceError) => outcomes.push(`${name} ${error.reason}`),
      );
      return call;
    },
  };
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('in a burst the oldest runs first', async () => {
  const { queue, call, wait, outcomes } = made(1);
  const first = call();
  assert.equal(queue.enter(first), undefined);
  const second = wait('second', call());
  wait('third', call());
  queue.leave(first);
  await settled();
  assert.deepEqual(outcomes, ['second runs']);
  queue.leave(second);
  await settled();
  assert.deepEqual(outcomes, ['second runs', 'third runs']);
  assert.deepEqual([queue.running, queue.waiting], [1, 0]);
});

test('in overload the newest runs first and what is old is refused', async () => {
  const { queue, call, wait, outcomes, pass } = made(8);
  const running = Array.from({ length: 8 }, () => call());
  for (const each of running) assert.equal(queue.enter(each), undefined);
  wait('old', call());
  // The queue has not been empty for long: this is no burst.
  pass(BURST_MS + 1);
  const young = wait('young', call());
  pass(OVERLOAD_WAIT_MS - 1);
  queue.leave(running[0]!);
  await settled();
  assert.deepEqual(outcomes, ['old OVERLOADED', 'young runs']);
  assert.equal(queue.waiting, 0);
  queue.leave(young);
});

test('in overload few wait, and whoever comes then is refused at once', () => {
  const { queue, call, wait, pass } = made(8);
  for (let index = 0; index < 8; index++) assert.equal(queue.enter(call()), undefined);
  wait('first', call());
  pass(BURST_MS + 1);
  wait('second', call());
  const refusal = queue.enter(call());
  assert.ok(refusal instanceof ServiceError);
  assert.deepEqual([refusal.code, refusal.reason], [status.RESOURCE_EXHAUSTED, 'OVERLOADED']);
});

test('what waits is refused even where no call ends', async () => {
  const { queue, call, wait, outcomes, pass } = made(1);
  assert.equal(queue.enter(call()), undefined);
  wait('stuck', call());
  pass(BURST_MS + 1);
  while (outcomes.length === 0) await settled();
  assert.deepEqual(outcomes, ['stuck OVERLOADED']);
});

test('a call whose deadline has passed is not let in, whether it comes or waits', async () => {
  const { queue, call, wait, outcomes, pass } = made(1);
  const refusal = queue.enter(call('interactive', 0));
  assert.ok(refusal instanceof ServiceError);
  assert.equal(refusal.code, status.DEADLINE_EXCEEDED);
  const first = call();
  assert.equal(queue.enter(first), undefined);
  wait('late', call('interactive', 10));
  pass(11);
  queue.leave(first);
  await settled();
  assert.deepEqual(outcomes, ['late DEADLINE_EXCEEDED']);
  assert.equal(queue.running, 0);
});

test('batches leave slots to calls that can’t wait, and those go first', async () => {
  const { queue, call, wait, outcomes } = made(4);
  const batch = call('batch');
  assert.equal(queue.enter(batch), undefined);
  // One of four slots is for batches; the others stay free.
  wait('second batch', call('batch'));
  const interactive = [call(), call(), call()];
  for (const each of interactive) assert.equal(queue.enter(each), undefined, 'a waiting batch holds nobody');
  wait('search', call());
  queue.leave(batch);
  await settled();
  assert.deepEqual(outcomes, ['search runs']);
  queue.leave(interactive[0]!);
  await settled();
  assert.deepEqual(outcomes, ['search runs', 'second batch runs']);
});

test('a caller that has gone takes no place', async () => {
  const { queue, call, wait, outcomes } = made(1);
  const first = call();
  assert.equal(queue.enter(first), undefined);
  queue.abandon(wait('gone', call()));
  queue.leave(first);
  await settled();
  assert.deepEqual(outcomes, ['gone CANCELLED']);
  assert.deepEqual([queue.running, queue.waiting], [0, 0]);
});

test('the longer overload lasts, the later callers are told to come again', () => {
  const { queue, call, wait, pass } = made(1, 1);
  const delay = (): number => {
    const refusal = queue.enter(call());
    assert.ok(refusal instanceof ServiceError, 'it is not let in');
    return refusal.retryDelayMs!;
  };
  assert.equal(queue.enter(call()), undefined);
  wait('one', call());
  assert.equal(delay(), RETRY_DELAY_MS.min);
  pass(1000);
  assert.equal(delay(), 1600);
  pass(60_000);
  assert.equal(delay(), RETRY_DELAY_MS.max);
});

test('turns of the event loop that take long are overload, and what comes late in one is refused', () => {
  let now = 1_000;
  let began = now;
  let isCalm = true;
  const loop = {
    call: () => began,
    get isCalm() {
      return isCalm;
    },
  };
  const queue = new CallQueue({ slots: 4, places: 100, now: () => now, loop });
  const call = (flow = 'a'): Applicant => ({ priority: 'interactive', deadline: Infinity, flow });
  const enter = (flow?: string): void => {
    const entered = call(flow);
    assert.equal(queue.enter(entered), undefined, 'a slot is free');
    queue.leave(entered);
  };
  const turn = (ms: number, calm: boolean): void => {
    isCalm = calm;
    began = now += 1;
    enter();
    now += ms;
  };
  turn(50, true);
  enter();
  // A long turn by itself is a burst; long ones without a pause are not.
  turn(BURST_MS, false);
  turn(OVERLOAD_WAIT_MS + 1, false);
  const isRefused = (flow?: string): boolean => queue.enter(call(flow)) instanceof ServiceError;
  assert.ok(isRefused());
  enter('b');
  assert.ok(isRefused('b'), 'each has its first');
  turn(OVERLOAD_WAIT_MS - 1, false);
  enter();
  turn(50, true);
  enter();
});

test('callers without end get no more than the slots past a turn’s time', () => {
  let now = 1_000;
  let began = now;
  const loop = { call: () => began, isCalm: false };
  const queue = new CallQueue({ slots: 2, places: 100, now: () => now, loop });
  now += BURST_MS + 1;
  began = now;
  now += OVERLOAD_WAIT_MS + 1;
  let served = 0;
  for (let each = 0; each < 10; each++) {
    const call: Applicant = { priority: 'interactive', deadline: Infinity, flow: `f${each}` };
    const refusal = queue.enter(call);
    if (refusal) {
      assert.ok(refusal instanceof ServiceError);
      assert.equal(refusal.reason, 'OVERLOADED');
      continue;
    }
    queue.leave(call);
    served++;
  }
  assert.equal(served, 2);
});

test('a turn of the event loop begins with its first call, and is calm where it is over soon', async () => {
  const turns = new LoopTurns();
  const first = turns.call();
  const end = performance.now() + OVERLOAD_WAIT_MS + 2;
  while (performance.now() < end);
  assert.equal(turns.call(), first, 'the same turn');
  assert.ok(turns.isCalm, 'nothing is known of this one');
  await new Promise((resolve) => setImmediate(resolve));
  assert.ok(!turns.isCalm);
  await new Promise((resolve) => setTimeout(resolve, 4 * OVERLOAD_WAIT_MS));
  assert.ok(turns.call() > first);
  assert.ok(turns.isCalm, 'the loop had nothing to do meanwhile');
});
