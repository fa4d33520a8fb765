import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Encoder } from '../../../towers/encoder.ts';
import { FakeTower } from '../testing/fake-tower.ts';
import { DIMENSIONS } from '../../runtime/testing/fake-manifest.ts';
import { eventually, harnesses, type IngestStream } from '../testing/harness.ts';

/** Marks the short document: no other text has it. */
const MARK = '☆';

/**
 * A tower with the queue of the real ones, whose runs last until a test lets them go. It knows for each run whether the
 * short document is in it.
 */
class BatchTower extends FakeTower {
  /** Runs so far, the one under way included. */
  runs = 0;
  /** The run that has the short document. */
  shortRun = 0;
  /** How many times the short document has been handed to the queue. */
  shortAsked = 0;
  #go = (): void => {};
  #isFree = false;
  readonly #encoder: Encoder;

  constructor() {
    super();
    const session = {
      device: 'cpu',
      run: async ({ ids, lengths }: { ids: Int32Array; lengths: Int32Array }) => {
        this.runs++;
        if (ids.includes(MARK.codePointAt(0)!)) this.shortRun = this.runs;
        if (!this.#isFree) await new Promise<void>((go) => (this.#go = go));
        return new Float32Array(lengths.length * DIMENSIONS).fill(1);
      },
      close: async () => {},
    };
    this.#encoder = new Encoder(session, DIMENSIONS, { maxBatchTokens: 1024, maxWaitMs: 0, maxQueue: 1024 });
  }

  override encode(...[tokens, options]: Parameters<FakeTower['encode']>): ReturnType<FakeTower['encode']> {
    if (tokens.ids.includes(MARK.codePointAt(0)!)) this.shortAsked++;
    this.encoded++;
    return this.#encoder.encode(tokens, options);
  }

  /** Lets one run end. */
  step(): void {
    this.#go();
  }

  /** Lets all runs end from now on. */
  free(): void {
    this.#isFree = true;
    this.#go();
  }
}

const start = harnesses();

/** Passages of about fifty tokens. */
const LONG = Array.from(
  { length: 20_000 },
  (_, at) => `passage ${at} ${'of a long document '.repeat(2)}`,
).join('|');

/** How many runs begin until the short document is in one, from the moment when it has been sent. */
async function runsBefore(tower: BatchTower, short: IngestStream): Promise<number> {
  const { runs } = tower;
  short.document(1, 'short', `a short document ${MARK}`);
  await eventually(() => tower.shortAsked === 1);
  while (tower.shortRun === 0) {
    const now = tower.runs;
    tower.step();
    await eventually(() => tower.runs > now);
  }
  return tower.shortRun - runs;
}

test('a short document waits for at most two batches beside one of a megabyte', async () => {
  const tower = new BatchTower();
  const { ingest } = await start({ tower });
  const long = ingest().document(1, 'long', LONG);
  await eventually(() => tower.runs === 1);
  const short = ingest();
  await short.until(({ events }) => events.length > 0);
  assert.ok((await runsBefore(tower, short)) <= 2);
  tower.free();
  await short.finish();
  const { outcomes } = await long.finish();
  assert.equal(outcomes[0]?.passages, 20_000);
});

test('a short document waits for at most two batches beside floods of ten streams of another tenant', async () => {
  const tower = new BatchTower();
  const { ingest, pipeline } = await start({ tower });
  const floods = Array.from({ length: 10 }, (_, stream) => {
    const flood = ingest({ collection: 'docs', tenant: 'greedy' });
    for (let sequence = 1; sequence <= 100; sequence++) {
      flood.document(sequence, `${stream}-${sequence}`, 'a text of a flood '.repeat(1 + (sequence % 40)));
    }
    return flood;
  });
  await eventually(() => pipeline.tokensInFlight >= 32_768 && tower.encoded > 100);
  for (let run = 0; run < 3; run++) {
    const now = tower.runs;
    tower.step();
    await eventually(() => tower.runs > now);
  }
  const short = ingest({ collection: 'docs', tenant: 'modest' });
  await short.until(({ events }) => events.length > 0);
  assert.ok((await runsBefore(tower, short)) <= 2);
  tower.free();
  await short.finish();
  await Promise.all(floods.map((flood) => flood.finish()));
});

test('long documents of several streams share the tower, and all come to their end', async () => {
  const tower = new BatchTower();
  const { ingest, pipeline } = await start({ tower });
  const streams = Array.from({ length: 3 }, (_, stream) =>
    ingest().document(1, `long${stream}`, LONG.slice(0, 200_000)),
  );
  await eventually(() => tower.runs === 1);
  tower.free();
  for (const stream of streams) {
    const { outcomes, watermark } = await stream.finish();
    assert.deepEqual([outcomes[0]?.kind, watermark], ['OUTCOME_KIND_INDEXED', 1]);
  }
  await eventually(() => pipeline.tokensInFlight === 0);
});
