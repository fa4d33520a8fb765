import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { eventually, gate, startHarness, type Harness, type IngestStream } from '../testing/harness.ts';
import { SLICE_PASSAGES } from './encoder.ts';
import { WATERMARK_OUTCOMES, WINDOW_OPERATIONS } from './session.ts';

const BUDGET = 8192;
/** A text that takes about 1064 tokens of the budget: eight of them spend it. */
const TEXT = 'x'.repeat(4000);
const MOST_IN_FLIGHT = 8;

let harness: Harness | undefined;
afterEach(async () => {
  await harness?.stop();
  harness = undefined;
});

async function start(): Promise<Harness> {
  harness = await startHarness({ settings: { budgetTokens: BUDGET } });
  return harness;
}

/** Sends as fast as flow control allows; says how many documents went out. */
function flood(
  stream: IngestStream,
  prefix: string,
  { most = Infinity, text = TEXT } = {},
): { sent: number; stop(): void } {
  const state = { sent: 0, stopped: false, stop: () => (state.stopped = true) };
  const push = (): void => {
    while (!state.stopped && state.sent < most) {
      state.sent++;
      const document = { id: `${prefix}${state.sent}`, text };
      if (!stream.call.write({ sequence: state.sent, document })) {
        stream.call.once('drain', push);
        return;
      }
    }
  };
  push();
  return state;
}

/** Waits until a number has not changed for a while. */
async function steady(read: () => number): Promise<number> {
  let last = -1;
  let same = 0;
  while (same < 20) {
    const now = read();
    same = now === last ? same + 1 : 0;
    last = now;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return last;
}

test('a sender that is faster than the tower is stopped by flow control, and the rest follows when it goes on', async () => {
  const { ingest, tower, pipeline, store } = await start();
  const held = gate();
  tower.before = () => held.opened;
  const stream = ingest();
  const sender = flood(stream, 'd', { most: 1500 });
  await eventually(() => pipeline.tokensInFlight >= BUDGET);
  const sent = await steady(() => sender.sent);
  assert.ok(sent < 800, `${sent} documents of four kilobytes went out while nothing was taken`);
  assert.ok(pipeline.tokensInFlight < BUDGET + 1100);
  assert.ok(tower.busiest <= MOST_IN_FLIGHT);
  held.open();
  await eventually(() => sender.sent === 1500);
  const ended = await stream.finish();
  assert.equal(ended.watermark, 1500);
  assert.equal(Object.keys(await store.contents('docs')).length, 1500);
  assert.ok(tower.busiest <= MOST_IN_FLIGHT, 'at all times');
});

test('a sender that is faster than the store is stopped by flow control, and the rest follows when it goes on', async () => {
  const { ingest, store, pipeline } = await start();
  const held = gate();
  store.before = (call) => (call === 'write' ? held.opened : undefined);
  const stream = ingest();
  const sender = flood(stream, 'd', { most: 1500 });
  await eventually(() => pipeline.tokensInFlight >= BUDGET);
  const sent = await steady(() => sender.sent);
  assert.ok(sent < 800, `${sent} documents went out`);
  assert.ok(pipeline.tokensInFlight < BUDGET + 1100);
  held.open();
  await eventually(() => sender.sent === 1500);
  assert.equal((await stream.finish()).watermark, 1500);
});

test('a client that never reads is stopped, holds no budget, and does not stop others', async () => {
  const { ingest, pipeline, store } = await start();
  const deaf = ingest();
  deaf.call.pause();
  flood(deaf, 'deaf', { text: 'text' });
  const writtenSoFar = (): number => store.writes.reduce((sum, { length }) => sum + length, 0);
  // It goes on until its window is full.
  await eventually(() => writtenSoFar() >= WINDOW_OPERATIONS);
  await steady(writtenSoFar);
  // A slow store may still be writing.
  await eventually(() => pipeline.tokensInFlight === 0);
  assert.ok(writtenSoFar() < 3 * WINDOW_OPERATIONS, `and no further: ${writtenSoFar()}`);

  const { outcomes } = await ingest().document(1, 'other', 'text').finish();
  assert.equal(outcomes.length, 1);
  deaf.call.cancel();
  deaf.call.resume();
  await eventually(() => pipeline.streams === 0);
});

test('a slow reader gets watermarks all the way', async () => {
  const { ingest } = await start();
  const stream = ingest();
  stream.call.pause();
  const sender = flood(stream, 'd', { most: 1500 });
  await steady(() => sender.sent);
  stream.call.resume();
  await eventually(() => sender.sent === 1500);
  const { events } = await stream.finish();
  let untold = 0;
  for (const { event } of events) {
    untold = event === 'outcome' ? untold + 1 : 0;
    assert.ok(untold <= WATERMARK_OUTCOMES);
  }
});

test('a stream that floods leaves room for one that does not', async () => {
  const { ingest, tower, pipeline } = await start();
  tower.before = () => new Promise((resolve) => setTimeout(resolve, 5));
  const greedy = ingest();
  const sender = flood(greedy, 'greedy');
  await eventually(() => pipeline.tokensInFlight >= BUDGET);
  const modest = ingest();
  for (let sequence = 1; sequence <= 20; sequence++) {
    const before = greedy.outcomes.length;
    modest.document(sequence, `modest${sequence}`, TEXT);
    await modest.durable(sequence);
    const meanwhile = greedy.outcomes.length - before;
    assert.ok(meanwhile < 200, `${meanwhile} documents of the other went first`);
  }
  sender.stop();
  greedy.call.cancel();
  await modest.finish();
});

test('a document of thousands of passages is encoded a slice at a time', async () => {
  const { ingest, tower, store } = await start();
  tower.before = () => new Promise((resolve) => setImmediate(resolve));
  const count = 3000;
  const text = Array.from({ length: count }, (_, index) => `passage ${index}`).join('|');
  const { outcomes } = await ingest().document(1, 'long', text).document(2, 'short', 'text').finish();
  assert.equal(outcomes[0]?.passages, count);
  assert.equal((await store.contents('docs')).long?.passages[count - 1]?.text, `passage ${count - 1}`);
  assert.ok(tower.busiest <= SLICE_PASSAGES + 1);
});
