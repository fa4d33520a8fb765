import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { Simulation } from '../../../store/testing/simulation.ts';
import { judgeIngest } from '../testing/judge-ingest.ts';
import { simulateIngest, type PlannedOperation, type SimulatedIngest } from '../testing/simulated-ingest.ts';

/** Seeds to run; `SCALINGNOTE_TEST_SEED` runs that one alone. */
const SEEDS = 12;

const CLIENTS = 4;
const OPERATIONS = 60;
/** Versions and documents that operations have: few of them make operations meet, many make them stale. */
const RANGES = [
  { versions: 1, documents: 3 },
  { versions: 3, documents: 12 },
  { versions: 9, documents: 6 },
] as const;
const TEXTS = ['one', 'one|two', 'one|two|three', 'four|five'];

function simulate(seed: number, context: TestContext): Promise<SimulatedIngest> {
  const simulation = new Simulation(seed);
  simulation.install(context);
  const { versions, documents } = RANGES[seed % RANGES.length]!;
  const plans = Array.from({ length: CLIENTS }, () =>
    Array.from({ length: OPERATIONS }, (_, index): PlannedOperation => {
      const operation = {
        sequence: index + 1,
        documentId: `d${simulation.below(documents)}`,
        version: 1 + simulation.below(versions),
      };
      return simulation.chance(0.2)
        ? operation
        : { ...operation, text: TEXTS[simulation.below(TEXTS.length)]! };
    }),
  );
  return simulateIngest(simulation, plans);
}

const only = process.env['SCALINGNOTE_TEST_SEED'];
const seeds = only === undefined ? Array.from({ length: SEEDS }, (_, index) => index + 1) : [Number(only)];

for (const seed of seeds) {
  test(`streams with faults keep what ingest promises: seed ${seed}`, async (context) => {
    await judgeIngest(await simulate(seed, context));
  });
}

test('a seed decides everything that happens', async (context) => {
  let first: SimulatedIngest | undefined;
  let again: SimulatedIngest | undefined;
  await context.test('once', async (inner) => void (first = await simulate(2, inner)));
  await context.test('and once more', async (inner) => void (again = await simulate(2, inner)));
  assert.deepEqual(again!.history, first!.history);
  const kinds = new Set(
    first!.history.map((event) => (event.kind === 'outcome' ? event.outcome : event.kind)),
  );
  assert.deepEqual([...kinds].sort(), [
    'OUTCOME_KIND_DELETED',
    'OUTCOME_KIND_INDEXED',
    'OUTCOME_KIND_REJECTED',
    'OUTCOME_KIND_UNCHANGED',
    'applied',
    'closed',
    'opened',
    'ready',
    'watermark',
  ]);
  const opened = first!.history.filter(({ kind }) => kind === 'opened');
  assert.ok(opened.length > CLIENTS, 'streams break');
});
