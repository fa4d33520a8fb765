import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { temporaryFolder } from '../../../towers/testing/tiny-tower.ts';
import { TrainingError } from '../../errors.ts';
import { HELD_OUT } from '../../stage1/pairs.ts';
import { letterPairs, tinyBase } from '../../testing/tiny-base.ts';
import { readRecipe } from '../recipe.ts';
import { type ClaimOptions, type ClaimReport, runClaim } from './claim.ts';
import { entropies, claimTask } from './measure.ts';
import { ClaimRecipe, stepsAt } from './recipe.ts';
import { differenceTo, headroomOf, type Results } from './report.ts';

const RATES = {
  teacher: [0.01],
  'two-stage': [0.01, 0.02],
  'end-to-end': [0.01],
  'frozen-documents': [0.01],
  'labelled-queries': [0.01],
  'no-relative': [0.01],
};

const DESIGN = {
  heldOut: 150,
  development: 20,
  unlabelled: 200,
  students: { 'transformer:1': [64, 128], lookup: [64] },
  seeds: 2,
  oneSeedFrom: 128,
  chooseAt: 64,
  batch: 32,
  maxTokens: 32,
  epochs: 1,
  leastSteps: 6,
  distillSteps: 8,
  rates: RATES,
};

/** An experiment of some seconds. */
function tinyClaim(context: TestContext, changes: Readonly<Record<string, unknown>> = {}) {
  const folder = temporaryFolder(context);
  const recipe = ClaimRecipe.parse({
    base: tinyBase(context),
    pairs: 'letters',
    out: join(folder, 'out'),
    claim: { ...DESIGN, ...changes },
  });
  const lines: string[] = [];
  const options: ClaimOptions = {
    cacheDir: folder,
    threads: 1,
    log: (line) => lines.push(line),
    makePairs: {
      letters: async (file, heldOut = 0) => {
        const all = letterPairs(600).map((pair, index) => ({
          ...pair,
          split: index < heldOut ? HELD_OUT : 'train',
        }));
        writeFileSync(file, all.map((pair) => JSON.stringify(pair)).join('\n'));
      },
    },
  };
  return { recipe, options, lines };
}

/** All that an experiment leaves for people. */
const bytesOf = ({ html, ...report }: ClaimReport): string =>
  JSON.stringify(report) + readFileSync(html, 'utf8');

test('an experiment gives points, headroom and differences, and the plan comes first', async (context) => {
  // Towers that hardly learn end to end leave their teacher room.
  const rates = { ...RATES, teacher: [0.02], 'end-to-end': [1e-6], 'no-relative': [1e-6, 2e-6] };
  const changes = { students: { 'transformer:1': [64] }, leastSteps: 60, oneSeedFrom: 64, rates };
  const { recipe, options, lines } = tinyClaim(context, changes);
  const { points, headroom, differences, heldOut } = await runClaim(recipe, options);
  assert.deepEqual(heldOut, { queries: 150, documents: 170 });
  const { skipped, value, halfWidth, ...room } = headroom[0]!;
  assert.ok(!skipped && value > 2 * halfWidth, `${value} ± ${halfWidth}`);
  assert.deepEqual([room.student, room.pairs], ['transformer:1', 64]);
  const arms = ['end-to-end', 'frozen-documents', 'labelled-queries', 'no-relative'];
  assert.deepEqual(
    points.map(({ arm }) => arm),
    ['teacher', 'two-stage', ...arms],
  );
  for (const { mrr, interval, mrrOfSeeds, entropy, operations } of points) {
    assert.ok(interval[0] <= mrr && mrr <= interval[1]);
    assert.deepEqual(mrrOfSeeds, [mrr]);
    assert.ok(entropy > 0 && operations > 0);
  }
  const mrrOf = (arm: string): number => points.find((point) => point.arm === arm)!.mrr;
  assert.deepEqual(
    differences.map(({ minus }) => minus),
    arms,
  );
  for (const { minus, mrr } of differences) {
    assert.ok(Math.abs(mrr.value - (mrrOf('two-stage') - mrrOf(minus))) < 1e-12);
  }
  const first = (part: string): number => lines.findIndex((line) => line.includes(part));
  assert.match(
    lines.find((line) => line.includes(' in all ('))!,
    /plan: \d+ minutes in all/,
  );
  assert.match(lines[first('plan: no-relative, transformer:1')]!, /: 2 towers, \d+\.\d minutes/);
  assert.ok(first(' in all (') < first('teacher-') && first('teacher-') < first('headroom: '));
  assert.ok(first('headroom: ') < first('two-stage-'));
});

test('broken off in any tower, an experiment goes on there, to the same bytes', async (context) => {
  const { recipe, options } = tinyClaim(context, { students: { lookup: [64] }, oneSeedFrom: 64 });
  const { out } = recipe;
  const whole = await runClaim(recipe, options);
  // A tower that learns in six steps what its teacher does has no room to be told from it.
  assert.deepEqual([whole.headroom[0]!.skipped, whole.differences], [true, []]);
  assert.deepEqual(
    whole.points.map(({ arm }) => arm),
    ['teacher', 'end-to-end', 'no-relative'],
  );
  const again: string[] = [];
  assert.equal(
    bytesOf(await runClaim(recipe, { ...options, log: (line) => again.push(line) })),
    bytesOf(whole),
  );
  assert.ok(
    again.every((line) => !/^(?!plan).*: in /.test(line)),
    'nothing is made a second time',
  );
  const moved = { ...recipe, out: `${out}-broken` };
  for (const name of ['teacher', 'end-to-end', 'no-relative']) {
    const controller = new AbortController();
    const reason = new Error(name);
    await assert.rejects(
      runClaim(moved, {
        ...options,
        signal: controller.signal,
        onProgress: (at, { phase, done }) => {
          if (at.startsWith(name) && phase === 'training' && done === 3) controller.abort(reason);
        },
      }),
      reason,
    );
  }
  assert.equal(bytesOf(await runClaim(moved, options)), bytesOf(whole));
});

/** A point whose queries all have a rank and an entropy. */
function resultsOf(arm: Results['arm'], rank: (query: number) => number): Results {
  const heldOut = {
    reciprocalRanks: Array.from({ length: 400 }, (_, query) => rank(query)),
    entropies: Array.from({ length: 400 }, () => 1),
  };
  const seeds = [{ development: 0, steps: 1, operations: 1, heldOut }];
  return { pairs: 64, student: 'lookup', arm, rate: 0.1, seeds };
}

test('an arm is skipped where the headroom is below two half-widths, and not where it is above', () => {
  const base = resultsOf('end-to-end', (query) => (query % 10) / 20);
  const noisy = (gain: number) =>
    resultsOf('teacher', (query) => (query % 10) / 20 + gain + (query % 2 ? 0.1 : -0.1));
  const [little, much] = [headroomOf(noisy(0.015), base), headroomOf(noisy(0.025), base)];
  assert.ok(Math.abs(little.value - 0.015) < 1e-9 && Math.abs(little.halfWidth - 0.0098) < 0.001);
  assert.deepEqual([little.skipped, much.skipped], [true, false]);
});

test('each difference has the sentence that the paper would need, and whether it is true', () => {
  const base = resultsOf('end-to-end', () => 0.4);
  const verdictOf = (rank: (query: number) => number) => differenceTo(resultsOf('two-stage', rank), base);
  assert.equal(verdictOf(() => 0.5).verdict, 'true');
  assert.equal(verdictOf(() => 0.3).verdict, 'false');
  const open = verdictOf((query) => (query % 2 ? 0.9 : -0.1));
  assert.equal(open.verdict, 'not shown');
  assert.match(
    open.sentence,
    /With 64 labelled pairs, lookup in two stages finds better than the same tower/,
  );
  assert.match(open.wide!, /400 held-out queries resolve 0\.0\d+; 0\.01 takes about/);
});

test('the entropy is that of a softmax by hand, and other answers to a query are no negatives', () => {
  const pair = (query: string, document: string) => ({ query, document, negatives: [] });
  const task = claimTask([pair('a', 'x'), pair('a', 'y'), pair('b', 'z')]);
  const documents = Float32Array.of(1, 0, 0, 1, 0.6, 0.8);
  const queries = Float32Array.of(1, 0, 0, 1, 1, 0);
  const found = entropies(queries, documents, 2, task);
  const expected = [
    Math.log(1 + Math.exp((0.6 - 1) / 0.05)),
    Math.log(1 + Math.exp((0.8 - 1) / 0.05)),
    Math.log(1 + Math.exp((1 - 0.6) / 0.05) + Math.exp((0 - 0.6) / 0.05)),
  ];
  for (const [query, value] of expected.entries()) assert.ok(Math.abs(found[query]! - value) < 1e-4);
});

test('a design is refused by the name of what is wrong with it', async (context) => {
  const file = join(temporaryFolder(context), 'claim.yaml');
  const refuses = async (claim: object, message: RegExp, more: object = {}): Promise<void> => {
    writeFileSync(file, JSON.stringify({ pairs: 'p', out: 'o', claim: { ...DESIGN, ...claim }, ...more }));
    await assert.rejects(readRecipe(file), (error) => {
      assert.ok(error instanceof TrainingError && error.reason === 'REQUEST_INVALID');
      assert.match(error.message, message);
      return true;
    });
  };
  await refuses({ seed: 3 }, /claim: Unrecognized key: "seed"/);
  await refuses({}, /Unrecognized key: "stage1"/, { stage1: {} });
  await refuses({ rates: { ...RATES, twoStage: [1] } }, /claim\.rates: Unrecognized key: "twoStage"/);
  await refuses({ students: { 'transformer:two': [64] } }, /"transformer:two" is no student/);
  await refuses({ chooseAt: 65 }, /claim\.chooseAt: transformer:1 has no point at 65 pairs/);
  await refuses({ oneSeedFrom: 500 }, /claim\.oneSeedFrom: no point has 500 pairs/);
  const { recipe, options } = tinyClaim(context, { heldOut: 560 });
  await assert.rejects(runClaim(recipe, options), /heldOut and development want 580, the largest point 128/);
  await assert.rejects(runClaim(recipe, { ...options, small: true }), /has no small/);
});

test('the example is a recipe, full and small, with as many held-out queries as its intervals want', async () => {
  const recipe = await readRecipe('examples/claim.yaml');
  assert.ok('claim' in recipe);
  for (const design of [recipe.claim, recipe.small!]) assert.ok(design.heldOut >= 5_000);
  assert.deepEqual(recipe.claim.students[0]!.pairs, [1000, 4000, 16_000, 64_000]);
  assert.equal(stepsAt(recipe.claim, 64_000), 1_000);
});
