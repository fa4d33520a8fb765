import assert from 'node:assert/strict';
import { join } from 'node:path';
import { readdirSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { temporaryFolder } from '../../towers/testing/tiny-tower.ts';
import { TrainingError } from '../errors.ts';
import { letterPairs, linesFile, tinyBase } from '../testing/tiny-base.ts';
import { sweepTowers, type TowerSize, type TowersPoint, type TowersRequest } from './tower-sweep.ts';

const [SMALL, MIDDLE, LARGE]: readonly TowerSize[] = [
  { layers: 1, width: 2 },
  { layers: 1, width: 5 },
  { layers: 2, width: 'full' },
];

const SIZES = [SMALL!, MIDDLE!, LARGE!];

const point = (document: TowerSize, query: TowerSize, pairs: number): TowersPoint => ({
  document,
  query,
  pairs,
});

function requestOf(context: TestContext, lines: string[]): TowersRequest {
  const folder = temporaryFolder(context);
  const pairs = letterPairs(1_000).map((pair, i) => ({ ...pair, split: i < 300 ? 'held-out' : 'train' }));
  return {
    base: tinyBase(context),
    pairs: linesFile(context, pairs),
    out: join(folder, 'sweep'),
    points: [
      ...SIZES.flatMap((document) => SIZES.map((query) => point(document, query, 640))),
      ...SIZES.map((size) => point(size, size, 320)),
    ],
    heldOut: point(LARGE!, SMALL!, 320),
    batch: 32,
    rate: 0.01,
    seed: 1,
    threads: 1,
    maxMinutes: 10,
    load: { documents: 1_000, tokensPerDocument: 50, days: 10 },
    rates: [0.1, 10],
    cacheDir: folder,
    log: (line) => lines.push(line),
  };
}

test('a sweep of towers from scratch says its plan, trains each pair of sizes once, and chooses', async (context) => {
  const lines: string[] = [];
  const request = requestOf(context, lines);
  const report = await sweepTowers(request);
  assert.match(
    lines[0]!,
    /^plan: 12 points and one held out, 13 of them to train: \d\.\de\+\d+ operations, about \d+\.\d minutes/,
  );
  assert.equal(report.points.length, 12);
  assert.ok(report.points.every(({ steps, pairs }) => steps === pairs / 32));
  // All start from random weights, each tower from its own, so that entropy can only come from training.
  assert.ok(report.points.every(({ entropy }) => entropy > 0 && entropy < Math.log(256) + 3));
  const [first] = report.points;
  const larger = report.points.find(({ document, query }) => document.layers === 2 && query.layers === 1)!;
  assert.ok(larger.document.parameters > 2 * first!.document.parameters);
  assert.equal(larger.query.parameters, first!.query.parameters);
  assert.ok(larger.operations > first!.operations);
  assert.deepEqual(report.range.document, report.range.query);
  const { predicted, within, entropy } = report.heldOut;
  assert.equal(within, predicted.interval[0] <= entropy && entropy <= predicted.interval[1]);
  assert.equal(report.choices.length, 3 * 2);
  assert.ok(report.load.tokensPerQuery > 3 && report.load.tokensPerQuery < 15);
  assert.ok(Array.isArray(report.weak));
  assert.ok(!readdirSync(request.out).includes('trial'), 'what was tried for the plan is gone');

  const before = lines.length;
  assert.deepEqual(await sweepTowers(request), report);
  assert.deepEqual(lines.slice(before), ['plan: 12 points and one held out, all of them measured before']);
});

test('a sweep that is broken off goes on where it was, to the same numbers', async (context) => {
  const lines: string[] = [];
  const request = { ...requestOf(context, lines), heldOut: point(SMALL!, SMALL!, 640) };
  const points = [point(SMALL!, MIDDLE!, 320), point(MIDDLE!, SMALL!, 320), point(LARGE!, LARGE!, 640)];
  const whole = await sweepTowers({ ...request, points });
  const controller = new AbortController();
  const stop = new Error('stop');
  const out = `${request.out}-again`;
  const broken = sweepTowers({
    ...request,
    points,
    out,
    signal: controller.signal,
    log: (line) => {
      if (line.includes('entropy')) controller.abort(stop);
    },
  });
  await assert.rejects(broken, (error) => error === stop);
  lines.length = 0;
  const again = await sweepTowers({ ...request, points, out });
  assert.match(lines[0]!, /3 of them to train/);
  assert.deepEqual(
    again.points.map(({ entropy }) => entropy),
    whole.points.map(({ entropy }) => entropy),
  );
});

test('a plan of more minutes than allowed, too few pairs and too little data are refused by name', async (context) => {
  const request = requestOf(context, []);
  const refuses = (changes: Partial<TowersRequest>, reason: string, message: RegExp): Promise<void> =>
    assert.rejects(sweepTowers({ ...request, ...changes }), (error) => {
      assert.ok(error instanceof TrainingError && error.reason === reason, String(error));
      assert.match(error.message, message);
      return true;
    });
  await refuses({ maxMinutes: 1e-9 }, 'REQUEST_INVALID', /--max-minutes is 1e-9/);
  await refuses({ heldOut: point(SMALL!, SMALL!, 64) }, 'REQUEST_INVALID', /64, less than 4 steps of 32/);
  await refuses(
    { heldOut: point(SMALL!, SMALL!, 5_000) },
    'PAIRS_INVALID',
    /has \d+ pairs to train on and 300 held out; the sweep needs 5000 and 256/,
  );
  assert.ok(!readdirSync(request.out).some((name) => name.endsWith('.json')), 'nothing was measured');
});
