import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { ServiceError } from '../runtime/errors.ts';
import { Gate, RETRY_DELAY_MS, type Admission } from './gate.ts';

const patient: Admission = { signal: new AbortController().signal };

/** A caller that waits so long. */
function within(ms: number): Admission {
  return { signal: patient.signal, deadline: Date.now() + ms };
}

/** The status that entering is refused with, at once. */
function refusal(enter: () => unknown): ServiceError {
  try {
    enter();
  } catch (error) {
    assert.ok(error instanceof ServiceError);
    return error;
  }
  throw new Error('was let in, or may wait');
}

test('so many are let in at once, so many wait in order, the next is refused with a time to retry', async () => {
  const gate = new Gate({ slots: 2, queue: 2 });
  assert.equal(gate.enter(patient), undefined);
  assert.equal(gate.enter(patient), undefined);
  const order: string[] = [];
  const third = gate.enter(patient)?.then(() => order.push('third'));
  const fourth = gate.enter(patient)?.then(() => order.push('fourth'));
  const refused = refusal(() => gate.enter(patient));
  assert.deepEqual([refused.code, refused.reason], [status.RESOURCE_EXHAUSTED, 'OVERLOADED']);
  assert.equal(refused.retryDelayMs, RETRY_DELAY_MS.min);
  gate.leave();
  gate.leave();
  await Promise.all([third, fourth]);
  assert.deepEqual(order, ['third', 'fourth']);
  gate.leave();
  gate.leave();
  assert.equal(gate.enter(patient), undefined, 'all places are free again');
});

test('the advice to retry follows how long the work takes, within bounds', () => {
  const gate = new Gate({ slots: 1, queue: 0 });
  for (const [ms, advice] of [
    [400, 400],
    [1e9, RETRY_DELAY_MS.max],
  ] as const) {
    assert.equal(gate.enter(patient), undefined);
    gate.leave(ms);
    void gate.enter(patient);
    assert.equal(refusal(() => gate.enter(patient)).retryDelayMs, advice);
    gate.leave();
  }
});

test('no more wait than are answered in time, and twice as many as run where searches take long', () => {
  for (const [ms, waiting] of [
    [1, 200],
    [25, 8],
    [1_000, 4],
  ] as const) {
    const gate = new Gate({ slots: 2, queue: 200 });
    assert.equal(gate.enter(patient), undefined);
    gate.leave(ms);
    for (let each = 0; each < 2 + waiting; each++) void gate.enter(patient);
    assert.equal(gate.waiting, waiting);
    assert.equal(refusal(() => gate.enter(patient)).reason, 'OVERLOADED');
  }
});

test('whoever gives up while waiting makes room', async () => {
  const gate = new Gate({ slots: 1, queue: 1 });
  void gate.enter(patient);
  const controller = new AbortController();
  const waiting = gate.enter({ signal: controller.signal });
  const reason = new Error('gone');
  controller.abort(reason);
  await assert.rejects(waiting!, reason);
  assert.equal(gate.waiting, 0);
  const next = gate.enter(patient);
  gate.leave();
  await next;
});

test('whoever has given up before does not wait, and no signal is made for one that need not', () => {
  const gate = new Gate({ slots: 1, queue: 1 });
  const made = {
    get signal(): AbortSignal {
      throw new Error('nobody asked for it');
    },
  };
  assert.equal(gate.enter(made), undefined);
  const reason = new Error('gone');
  assert.throws(() => gate.enter({ signal: AbortSignal.abort(reason) }), reason);
  assert.equal(gate.waiting, 0);
});

test('a deadline that is over, or that no search of late has met, is refused at once', () => {
  const gate = new Gate({ slots: 1, queue: 1 });
  assert.equal(refusal(() => gate.enter(within(-1))).code, status.DEADLINE_EXCEEDED);
  assert.equal(gate.enter(within(1000)), undefined, 'nothing is known yet');
  gate.leave(60_000);
  const refused = refusal(() => gate.enter(within(30_000)));
  assert.equal(refused.code, status.DEADLINE_EXCEEDED);
  assert.match(refused.message, /a search takes 60000 ms/);
  assert.equal(gate.enter(within(90_000)), undefined);
  gate.leave(1);
  assert.equal(gate.enter(within(30_000)), undefined, 'one that was faster refutes it');
});

test('those that wait count', () => {
  const gate = new Gate({ slots: 1, queue: 5 });
  void gate.enter(patient);
  gate.leave(60_000);
  void gate.enter(patient);
  void gate.enter(patient);
  assert.equal(refusal(() => gate.enter(within(100_000))).code, status.DEADLINE_EXCEEDED);
  void gate.enter(within(200_000));
  assert.equal(gate.waiting, 2);
});

test('whoever can’t be in time any more when its turn comes is passed over', async () => {
  const gate = new Gate({ slots: 1, queue: 5 });
  void gate.enter(patient);
  const late = gate.enter(within(30_000))!;
  const next = gate.enter(patient)!;
  gate.leave(60_000);
  await assert.rejects(
    late,
    (error) => error instanceof ServiceError && error.code === status.DEADLINE_EXCEEDED,
  );
  await next;
});

test('searches that wait share the slots, so a deadline that their turn leaves room for is accepted', async () => {
  const gate = new Gate({ slots: 2, queue: 3 });
  void gate.enter(patient);
  gate.leave(100);
  const inside = [gate.enter(patient), gate.enter(patient)];
  assert.deepEqual(inside, [undefined, undefined]);
  const waiting = [gate.enter(patient), gate.enter(patient)];
  // Two are ahead for two slots: one more search of 100 ms before its own.
  const third = gate.enter(within(250));
  assert.ok(third instanceof Promise);
  for (let index = 0; index < 3; index++) gate.leave();
  await Promise.all([...waiting, third]);
});

test('the advice to retry is shorter where several calls run at a time', () => {
  const gate = new Gate({ slots: 2, queue: 1 });
  void gate.enter(patient);
  gate.leave(400);
  for (let index = 0; index < 3; index++) void gate.enter(patient);
  // One waits, and so would the caller: two searches of 400 ms, in two slots.
  assert.equal(refusal(() => gate.enter(patient)).retryDelayMs, 400);
});

test('a caller whose turn has come waits for nobody else', async () => {
  const gate = new Gate({ slots: 1, queue: 1 });
  void gate.enter(patient);
  const waiting = gate.enter(within(90_000))!;
  gate.leave(60_000);
  await waiting;
});

test('a deadline that is reached is over', (context) => {
  context.mock.method(Date, 'now', () => 1_000);
  const gate = new Gate({ slots: 1, queue: 1 });
  const { signal } = patient;
  assert.equal(refusal(() => gate.enter({ signal, deadline: 1_000 })).code, status.DEADLINE_EXCEEDED);
  assert.equal(gate.enter({ signal, deadline: 1_001 }), undefined);
});

test('a call that waits no more does not listen to its signal any more', async () => {
  const gate = new Gate({ slots: 1, queue: 2 });
  void gate.enter(patient);
  const { signal } = new AbortController();
  const late = gate.enter({ signal, deadline: Date.now() + 30_000 })!;
  const next = gate.enter({ signal })!;
  assert.equal(getEventListeners(signal, 'abort').length, 2);
  gate.leave(60_000);
  await assert.rejects(late);
  await next;
  assert.deepEqual(getEventListeners(signal, 'abort'), []);
});

test('tenants take turns, and a full queue gives up the newest of the one that has most', async () => {
  const gate = new Gate({ slots: 1, queue: 3 });
  assert.equal(gate.enter(patient, 'many'), undefined);
  const order: string[] = [];
  const wait = (name: string, flow: string): Promise<void> =>
    gate.enter(patient, flow)!.then(
      () => void order.push(name),
      (error: ServiceError) => void order.push(`${name} ${error.reason}`),
    );
  const waiting = [wait('many 1', 'many'), wait('many 2', 'many'), wait('many 3', 'many')];
  waiting.push(wait('few', 'few'));
  assert.equal(refusal(() => gate.enter(patient, 'many')).reason, 'OVERLOADED');
  for (let turn = 0; turn < 3; turn++) {
    gate.leave();
    await new Promise(setImmediate);
  }
  await Promise.all(waiting);
  assert.deepEqual(order, ['many 3 OVERLOADED', 'many 1', 'few', 'many 2']);
  gate.leave();
});
