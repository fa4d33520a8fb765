import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { recordingLog } from '../runtime/testing/harness.ts';
import { jsonMetrics } from '../runtime/telemetry/exposition.ts';
import { Metrics } from '../runtime/telemetry/metrics.ts';
import { LiveQuality, MIN_INTERVAL_MS, type Teacher } from './live-quality.ts';
import { DIMENSIONS, FakeStore, FakeTower, vectorOf } from './testing/fakes.ts';

/** A student and its teacher, and what was measured. */
function setUp(options: { share?: number; random?: () => number; teacher?: Promise<Teacher> } = {}) {
  const student = new FakeTower();
  const teacher = new FakeTower({ name: 'teacher' });
  const store = new FakeStore();
  store.find = () => [];
  const metrics = new Metrics();
  const { log, lines } = recordingLog();
  const live = new LiveQuality(student, options.teacher ?? Promise.resolve(teacher), {
    store,
    metrics,
    log,
    share: options.share ?? 1,
    random: options.random ?? (() => 0),
  });
  const measured = (name: string) =>
    jsonMetrics(metrics.all).find((each) => each.name === name)?.points ?? [];
  const results = (): Record<string, number> =>
    Object.fromEntries(
      measured('scalingnote.live.samples').map((point) => [
        String(point.attributes['scalingnote.result']),
        'value' in point ? point.value : Number.NaN,
      ]),
    );
  return { live, student, teacher, store, lines, measured, results };
}

const hit = (documentId: string) => ({ documentId, score: 1, passage: 0, title: '', version: 0 });
const search = (text: string, vector = vectorOf(text)) => ({
  text,
  collection: 'docs--sp1',
  query: { tenant: 't', vector, limit: 3 },
});
const settled = async (results: () => Record<string, number>): Promise<void> => {
  while (Object.keys(results()).length === 0) await new Promise((resolve) => setImmediate(resolve));
};

describe('live quality', () => {
  test('cosine of the vectors, and share of the documents that both find', async () => {
    const { live, store, measured, results } = setUp();
    const other = new Float32Array(DIMENSIONS).fill(1);
    store.find = ({ query }) =>
      query.vector === other ? ['a', 'b', 'x', 'y'].map(hit) : ['a', 'b', 'c', 'd'].map(hit);
    await Promise.resolve();
    live.offer(search('stars', other));
    await settled(results);
    assert.deepEqual(results(), { compared: 1 });
    const [overlap] = measured('scalingnote.live.overlap');
    assert.equal(overlap && 'sum' in overlap && overlap.sum, 0.5);
    const [cosine] = measured('scalingnote.live.cosine');
    const expected = vectorOf('stars').reduce((sum, each) => sum + each, 0) / Math.sqrt(DIMENSIONS);
    assert.ok(cosine && 'sum' in cosine && Math.abs(cosine.sum - expected) < 1e-6);
    for (const { collection, query } of store.searches) {
      assert.deepEqual([collection, query.tenant, query.limit], ['docs--sp1', 't', 10]);
    }
  });

  test('one at a time, and not more often than so; the others are counted', async () => {
    const { live, teacher, results } = setUp();
    await Promise.resolve();
    live.offer(search('one'));
    live.offer(search('two'));
    assert.deepEqual(results(), { skipped: 1 });
    while (!results()['compared']) await new Promise((resolve) => setImmediate(resolve));
    live.offer(search('three'));
    assert.deepEqual(results(), { skipped: 2, compared: 1 });
    assert.deepEqual(teacher.texts, ['one']);
    assert.ok(MIN_INTERVAL_MS >= 100);
  });

  test('of the others nothing is seen', async () => {
    const { live, teacher, results } = setUp({ share: 0.1, random: () => 0.1 });
    await Promise.resolve();
    live.offer(search('stars'));
    assert.deepEqual([teacher.texts, results()], [[], {}]);
  });

  test('a failure is counted, and nobody hears of it', async () => {
    const { live, store, results } = setUp();
    store.find = () => Promise.reject(new Error('away'));
    await Promise.resolve();
    live.offer(search('stars'));
    await settled(results);
    assert.deepEqual(results(), { failed: 1 });
  });

  test('a teacher of another space, or none, is told and not used', async () => {
    for (const teacher of [
      async () =>
        new FakeTower({ space: { ...new FakeTower().manifest.space, fingerprint: `sp1_${'0'.repeat(32)}` } }),
      () => Promise.reject(new Error('no such tower')),
    ]) {
      const { live, lines, results } = setUp({ teacher: teacher() });
      while (lines.length === 0) await new Promise((resolve) => setImmediate(resolve));
      live.offer(search('stars'));
      assert.deepEqual(results(), { skipped: 1 });
    }
  });
});
