import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { TowerError } from '../errors.ts';
import { hashFile } from '../hash.ts';
import { MovingTower } from './testing/moving-tower.ts';
import {
  compareGolden,
  encodeProbes,
  Golden,
  GOLDEN_FILE,
  hashGolden,
  parseGolden,
  PROBES,
  PROBES_VERSION,
  readGolden,
  recordGolden,
  TOLERANCE_CEILING,
  TOLERANCE_FLOOR,
  vectorsOf,
  writeGolden,
} from './golden.ts';
import { PROBE_LISTS } from './probes.ts';
import { cosineDistance } from './vectors.ts';

const reason =
  (wanted: string, words: RegExp) =>
  (error: unknown): boolean =>
    error instanceof TowerError && error.reason === wanted && words.test(error.message);

describe('the probes', () => {
  test('are those that were released', () => {
    const hashes = [...PROBE_LISTS].map(([version, texts]) => [
      version,
      createHash('sha256').update(JSON.stringify(texts)).digest('hex'),
    ]);
    // A list never changes. What is wrong with one is right in the next.
    assert.deepEqual(hashes, [[1, '66dbdd6342d0f4867ade8d3d8960fb4d2d584e8ee0a1820295b971c21bd7105d']]);
    assert.equal(PROBE_LISTS.get(PROBES_VERSION), PROBES);
  });

  test('are about sixty, no two alike, none that a server would refuse as empty', () => {
    assert.ok(PROBES.length >= 55 && PROBES.length <= 65, String(PROBES.length));
    assert.equal(new Set(PROBES).size, PROBES.length);
    for (const text of PROBES) assert.notEqual(text.trim(), '');
    assert.ok(Math.max(...PROBES.map(({ length }) => length)) > 4_000);
  });
});

describe('a record', () => {
  test('has the vectors, at unit length and to 16 bits', async () => {
    const tower = new MovingTower();
    const golden = await recordGolden(tower);
    for (const [index, row] of vectorsOf(golden).entries()) {
      assert.ok(cosineDistance(row, (await encodeProbes(tower))[index]!) < 1e-7);
      assert.ok(Math.abs(Math.hypot(...row) - 1) < 1e-3);
    }
    assert.equal(golden.dimensions, tower.manifest.dimensions);
    assert.deepEqual(golden.recordedOn.device, 'cpu');
    assert.deepEqual(Golden.parse(golden), golden);
  });

  test('reads the document prompt', async () => {
    const tower = new MovingTower();
    await recordGolden(tower);
    assert.deepEqual(new Set(tower.prompts), new Set([tower.manifest.space.documentPrompt]));
  });

  test('of a model that stands still has the least tolerance', async () => {
    const golden = await recordGolden(new MovingTower());
    assert.equal(golden.moved, 0);
    assert.equal(golden.tolerance, TOLERANCE_FLOOR);
  });

  test('of a model that moves with its neighbours has twice as much', async () => {
    const tower = new MovingTower();
    tower.neighbours = Math.acos(1 - 0.004);
    const golden = await recordGolden(tower);
    assert.ok(Math.abs(golden.moved - 0.004) < 1e-5, String(golden.moved));
    assert.ok(Math.abs(golden.tolerance - 0.008) < 2e-5);
    assert.equal((await compareGolden(tower, golden)).drifted, false);
  });

  test('of a model that moves more than any other one differs is refused', async () => {
    const tower = new MovingTower();
    tower.neighbours = Math.acos(1 - 0.011);
    await assert.rejects(recordGolden(tower), reason('TOWER_UNSTABLE', /distance of 0\.011/));
    assert.ok(2 * 0.011 > TOLERANCE_CEILING);
  });

  test('of a model that gives no direction is refused, and names the probe', async () => {
    for (const wrong of [0, NaN]) {
      const tower = new MovingTower();
      tower.change = (vector, text) => (text === 'river' ? vector.fill(wrong) : vector);
      await assert.rejects(recordGolden(tower), reason('TOWER_UNSTABLE', /probe 9 of 62/));
    }
  });
});

describe('a comparison', () => {
  test('finds a model that turned by more than the tolerance, and not one that turned by less', async () => {
    const tower = new MovingTower();
    const golden = await recordGolden(tower);
    for (const [distance, drifted] of [
      [0, false],
      [0.0019, false],
      [0.0021, true],
      [0.5, true],
      [2, true],
    ] as const) {
      tower.turn = Math.acos(1 - distance);
      const drift = await compareGolden(tower, golden);
      assert.equal(drift.drifted, drifted, String(distance));
      for (const each of [drift.worst, drift.median]) assert.ok(Math.abs(each - distance) < 1e-4, `${each}`);
      assert.equal(drift.probes, PROBES.length);
    }
  });

  test('finds one text that differs', async () => {
    const tower = new MovingTower();
    const golden = await recordGolden(tower);
    tower.change = (vector, text) => (text === 'ΚΑΛΗΜΕΡΑ ΣΑΣ' ? vector.fill(1) : vector);
    const { drifted, worst, median } = await compareGolden(tower, golden);
    assert.ok(drifted && worst > 0.01 && median < 1e-6);
  });

  test('takes a vector without direction for drift', async () => {
    const tower = new MovingTower();
    const golden = await recordGolden(tower);
    tower.change = (vector, text) => (text === 'a' ? vector.fill(NaN) : vector);
    const { drifted, worst } = await compareGolden(tower, golden);
    assert.deepEqual({ drifted, worst }, { drifted: true, worst: Infinity });
  });

  test('refuses the record of another model', async () => {
    const golden = await recordGolden(new MovingTower({ dimensions: 32 }));
    await assert.rejects(
      compareGolden(new MovingTower(), golden),
      reason('TOWER_MANIFEST_INVALID', /another model/),
    );
  });
});

describe('golden.json', () => {
  async function written(): Promise<{ directory: string; golden: Golden; sha256: string } & AsyncDisposable> {
    const directory = await mkdtemp(join(tmpdir(), 'scalingnote-golden-'));
    const golden = await recordGolden(new MovingTower());
    const sha256 = await writeGolden(directory, golden);
    return { directory, golden, sha256, [Symbol.asyncDispose]: () => rm(directory, { recursive: true }) };
  }

  test('is read as it was written, and has the hash that was given', async () => {
    await using at = await written();
    const { directory, golden, sha256 } = at;
    const { manifest } = new MovingTower();
    assert.equal(await hashFile(join(directory, GOLDEN_FILE)), sha256);
    const space = { ...manifest.space, golden: hashGolden(golden) };
    for (const each of [
      { ...manifest, files: { [GOLDEN_FILE]: sha256 } },
      { ...manifest, space },
    ]) {
      assert.deepEqual(await readGolden({ directory, manifest: each }), golden);
    }
    assert.equal(await readGolden({ directory, manifest }), undefined);
  });

  test('of other vectors than the space names is refused', async () => {
    await using at = await written();
    const { manifest } = new MovingTower();
    const space = { ...manifest.space, golden: '0'.repeat(64) };
    await assert.rejects(
      readGolden({ directory: at.directory, manifest: { ...manifest, space } }),
      reason('TOWER_MANIFEST_INVALID', /space names/),
    );
  });

  test('with a flaw is refused, and the flaw is named', async () => {
    await using at = await written();
    const path = join(at.directory, GOLDEN_FILE);
    const value = JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>;
    for (const [changes, words] of [
      [{ probes: 99 }, /list of probes/],
      [{ tolerance: 0.5 }, /tolerance/],
      [{ vectors: 'AAAA' }, /numbers/],
      [{ hello: 1 }, /hello/],
      [{ dimensions: 9 }, /numbers/],
    ] as const) {
      assert.throws(
        () => parseGolden(JSON.stringify({ ...value, ...changes }), path),
        reason('TOWER_MANIFEST_INVALID', words),
      );
    }
    await writeFile(path, '{');
    const { manifest } = new MovingTower();
    await assert.rejects(
      readGolden({ directory: at.directory, manifest: { ...manifest, files: { [GOLDEN_FILE]: '' } } }),
      reason('TOWER_MANIFEST_INVALID', /no record/),
    );
  });

  test('has a hash of its vectors alone', async () => {
    const golden = await recordGolden(new MovingTower());
    const later = { ...golden, recordedAt: '2030-01-01T00:00:00.000Z', tolerance: 0.01, moved: 0.005 };
    assert.equal(hashGolden(later), hashGolden(golden));
    const turned = new MovingTower();
    turned.turn = 0.1;
    assert.notEqual(hashGolden(await recordGolden(turned)), hashGolden(golden));
  });
});
