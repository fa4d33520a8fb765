import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import * as fc from 'fast-check';
import { Model } from '../session/model.ts';
import { fingerprint, type SpaceDefinition } from '../space.ts';
import { readReference } from '../tokenizer/testing/families.ts';
import { TextTokenizer } from '../tokenizer/tokenizer.ts';
import { LookupError } from './errors.ts';
import { normalizeQuery } from './query-text.ts';
import { Sha256, sha256 } from './sha256.ts';
import { parseStages } from './stages.ts';
import { fingerprintOf, LookupTower, parseManifest } from './tower.ts';

const folder = new URL('../../../towers/shipped/all-MiniLM-L6-v2-lookup/', import.meta.url);
const read = (name: string): string => readFileSync(new URL(name, folder), 'utf8');
const manifest = parseManifest(read('tower.json'));
const model = new Uint8Array(readFileSync(new URL('model.onnx', folder)));
const files = { tokenizer: read('tokenizer.json'), model };

test('vectors of hostile strings are those of the reference tokenizer and ONNX Runtime, to 1e-6', async () => {
  const ours = new LookupTower(manifest, files);
  const tokenizer = await TextTokenizer.load(files.tokenizer, manifest);
  const graph = await Model.load(
    {
      path: fileURLToPath(new URL('model.onnx', folder)),
      device: 'cpu',
      threads: 1,
      pooling: 'mean',
      normalize: true,
      dimensions: manifest.dimensions,
    },
    () => undefined,
  );
  let worst = 0;
  for (const text of [
    'a person who studies stars',
    '',
    'x '.repeat(999),
    ...(readReference('strings') as string[]),
  ]) {
    const { ids, truncated } = await tokenizer.encode(normalizeQuery(text));
    const expected = await graph.run({ ids: Int32Array.from(ids), lengths: Int32Array.of(ids.length) });
    const made = ours.encode(text);
    assert.deepEqual([made.tokens, made.truncated], [ids.length, truncated]);
    for (const [i, value] of made.vector.entries()) worst = Math.max(worst, Math.abs(value - expected[i]!));
  }
  await graph.close();
  assert.ok(worst < 1e-6, `${worst}`);
});

test('a manifest that says something else is refused, by name', () => {
  const json = JSON.parse(read('tower.json')) as Record<string, unknown>;
  const refused = (change: object, why: RegExp): void =>
    assert.throws(
      () => new LookupTower(parseManifest(JSON.stringify({ ...json, ...change })), files),
      (error: unknown) => error instanceof LookupError && why.test(error.message),
    );
  const stages = (...list: object[]): object => ({ lookup: { version: 1, stages: list } });
  const since2 = (...list: object[]): object => ({ lookup: { version: 2, stages: list } });
  refused({ lookup: undefined }, /has no list of stages/);
  refused({ lookup: { version: 3, stages: [] } }, /lookup\.version is 3/);
  refused(stages(), /has no tokens/);
  refused(stages({ type: 'attention' }), /stages\[0\]\.type is "attention"/);
  const { rows } = manifest.lookup.stages.find((stage) => stage.type === 'tokens')!;
  assert.ok(typeof rows !== 'string');
  const { values } = rows;
  refused(stages({ type: 'tokens', rows: values, more: 1 }), /more is not known/);
  refused(stages({ type: 'tokens', rows: 'other' }), /names the weights "other"; the model has \w/);
  refused(stages({ type: 'tokens', rows: values }), new RegExp(`"${values}" is no table of float32`));
  refused(stages({ type: 'tokens', rows: { ...rows, bits: 2 } }), /rows\.bits is 2; it may be 4/);
  refused(
    stages({ type: 'tokens', rows: { ...rows, bits: 4 } }),
    /version is 1, and tables of four bits are there since 2/,
  );
  const tokens = { type: 'tokens', rows };
  refused(
    since2({ type: 'projection', matrix: 'm' }, tokens),
    /stages\[0\] is a projection, which must be the last/,
  );
  refused({ role: 'document' }, /encodes documents/);
  const other = { values, scales: rows.scales, ...(rows.bits === undefined && { bits: 4 }) };
  refused(since2({ type: 'tokens', rows: other }), /is no table of u?int8/);
  refused({ dimensions: 100 }, /384 components, the tower 100/);
  refused({ space: { ...(json['space'] as object), documentPrompt: 'x' } }, /but the definition has sp1_/);
});

test('a model that is cut short, or none, is refused', () => {
  for (const length of [0, 1, 100, 10_000, model.length - 1]) {
    assert.throws(
      () => new LookupTower(manifest, { ...files, model: model.slice(0, length) }),
      LookupError,
      String(length),
    );
  }
});

test('hashes and fingerprints are those of Node, however the bytes come', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 8 }), (parts) => {
      const ours = new Sha256();
      const theirs = createHash('sha256');
      for (const part of parts) {
        ours.update(part);
        theirs.update(part);
      }
      assert.equal(ours.hex(), theirs.digest('hex'));
    }),
  );
  assert.equal(sha256(model), manifest.files.get('model.onnx'));
  const { space } = JSON.parse(read('tower.json')) as { space: SpaceDefinition & { fingerprint?: string } };
  delete space.fingerprint;
  assert.equal(fingerprintOf(space as unknown as Record<string, unknown>), fingerprint(space));
});

test('stages that a manifest lists are read as they stand', () => {
  const whole = {
    version: 1,
    stages: [
      { type: 'weights', seeks: 'seeks', shows: 'shows', positions: 'positions' },
      { type: 'tokens', rows: { values: 'v', scales: 's' } },
      { type: 'pairs', keys: 'k', places: 'p', rows: 'r', base: 30_522 },
      { type: 'projection', matrix: { values: 'm', scales: 'n' } },
    ],
  };
  assert.deepEqual(parseStages(whole), whole);
});
