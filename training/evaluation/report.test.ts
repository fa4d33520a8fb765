import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openTower } from '../../towers/open.ts';
import { temporaryFolder, writeTinyTower } from '../../towers/testing/tiny-tower.ts';
import type { Evaluation, QueryTowerResult } from './evaluate.ts';
import { reportPage } from './report-page.ts';
import { summarize } from './report.ts';

function result(queryTower: string, kept: number, encodePerSecond: number): QueryTowerResult {
  return {
    queryTower,
    ndcg10: kept / 2,
    mrr10: kept / 2,
    recall50: kept,
    recall100: kept,
    retention: {
      ndcg10: kept,
      recall50: kept,
      interval: [kept - 0.1, kept + 0.1],
      recall50Interval: [kept, kept],
    },
    speed: { p50Ms: 1, p99Ms: 2, encodePerSecond, speedup: encodePerSecond / 100 },
  };
}

test('towers are compared over all data sets, and what is beaten in both is not on the front', async (context) => {
  const speeds = { teacher: 100, small: 1000, 'slow & <bad>': 900 };
  const towers = await Promise.all(
    Object.keys(speeds).map(async (_, index) => {
      const folder = temporaryFolder(context);
      writeTinyTower(folder, { name: `t${index}` });
      const curve = [0, 5].map((step) => ({ step, heldOutCosine: 0.5 + step / 20 }));
      if (index === 1) writeFileSync(join(folder, 'training.json'), JSON.stringify({ curve }));
      const tower = await openTower(folder, { cacheDir: temporaryFolder(context), inline: true });
      context.after(() => tower.close());
      return tower;
    }),
  );
  const evaluations = [0, 0.1].map((shift, index): Evaluation => ({
    dataset: `set ${index}`,
    documents: 3,
    queries: 2,
    identicalIds: 0,
    documentTower: 'teacher',
    results: [
      result('teacher', 1, 100),
      result('small', 0.8 + shift, 1000),
      result('slow & <bad>', 0.7 + shift, 900),
      { ...result('BM25', 0.6, 0), speed: undefined },
    ].map(({ speed, ...rest }) => (speed === undefined ? rest : { ...rest, speed })),
  }));
  const report = await summarize(evaluations, towers);
  assert.deepEqual(
    report.towers.map(({ onFront }) => onFront),
    [true, true, false],
  );
  assert.ok(Math.abs(report.towers[1]!.retention.ndcg10 - 0.85) < 1e-9);
  assert.equal(report.towers[1]!.speed!.speedup, 10);
  assert.ok(report.towers.every(({ bytes }) => bytes > 100));

  const page = reportPage(report);
  for (const words of [
    'set 0',
    'set 1',
    'slow &amp; &lt;bad&gt;',
    '0.800 (0.700 to 0.900)',
    '<polyline',
    'Training',
  ]) {
    assert.ok(page.includes(words), words);
  }
  assert.doesNotMatch(page, /NaN|Infinity|undefined|<script|https?:\/\//);
});
