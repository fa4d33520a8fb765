import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { lookUpRule, VERSION_TABLE } from './testing/version-table.ts';
import { applyVersionRule, type Remembered, type VersionedWrite } from './versions.ts';

const VERSIONS = [0, 1, 4, 5, 6, Number.MAX_SAFE_INTEGER];

const REMEMBERED: (Remembered | undefined)[] = [
  undefined,
  ...VERSIONS.flatMap((version): Remembered[] => [
    { kind: 'document', version, contentHash: 'same', encodingHash: 'text' },
    // As layout 1 stored it.
    { kind: 'document', version, contentHash: 'same' },
    { kind: 'delete', version },
  ]),
];

const WRITES = VERSIONS.flatMap((version): VersionedWrite[] => [
  { kind: 'put', version, contentHash: 'same', encodingHash: 'text' },
  { kind: 'put', version, contentHash: 'another', encodingHash: 'text' },
  { kind: 'update', version, contentHash: 'new', expected: { contentHash: 'same' } },
  { kind: 'update', version, contentHash: 'new', expected: { contentHash: 'another' } },
  { kind: 'update', version, contentHash: 'new', expected: { encodingHash: 'text' } },
  { kind: 'update', version, contentHash: 'new', expected: { encodingHash: 'another' } },
  { kind: 'confirm', version, contentHash: 'same' },
  { kind: 'confirm', version, contentHash: 'another' },
  { kind: 'delete', version },
]);

describe('the version rule', () => {
  it('is what the table says, for every kind of write on everything that may be stored', () => {
    for (const before of REMEMBERED) {
      for (const write of WRITES) {
        const { result, after } = applyVersionRule(before, write);
        const expected = lookUpRule(before, write);
        const what = JSON.stringify({ before, write });
        assert.deepEqual(result, expected.result, what);
        assert.deepEqual(after, expected.after, what);
      }
    }
  });

  it('gives back the same object where nothing changes: stores then write nothing', () => {
    const stored: Remembered = { kind: 'document', version: 5, contentHash: 'same' };
    const deleted: Remembered = { kind: 'delete', version: 5 };
    for (const write of [
      { kind: 'put', version: 4, contentHash: 'same', encodingHash: 'text' },
      { kind: 'update', version: 4, contentHash: 'new', expected: { contentHash: 'same' } },
      { kind: 'update', version: 6, contentHash: 'new', expected: { contentHash: 'another' } },
      { kind: 'confirm', version: 5, contentHash: 'same' },
      { kind: 'confirm', version: 6, contentHash: 'another' },
      { kind: 'delete', version: 4 },
    ] as const) {
      assert.equal(applyVersionRule(stored, write).after, stored, JSON.stringify(write));
    }
    for (const version of [0, 4, 5]) {
      assert.equal(applyVersionRule(deleted, { kind: 'delete', version }).after, deleted);
    }
  });

  it('has a table with one row for each case', () => {
    const cases = VERSION_TABLE.map(([stored, write, version]) => `${stored}, ${write}, ${version}`);
    assert.equal(new Set(cases).size, cases.length);
    // Literal results of a few rows, so that a mistake in reading the table fails.
    const stored: Remembered = { kind: 'document', version: 5, contentHash: 'same' };
    assert.deepEqual(lookUpRule(stored, { kind: 'delete', version: 4 }), {
      result: { outcome: 'stale', storedVersion: 5 },
      after: stored,
    });
    assert.deepEqual(lookUpRule(stored, { kind: 'confirm', version: 6, contentHash: 'same' }), {
      result: { outcome: 'unchanged' },
      after: { ...stored, version: 6 },
    });
    assert.deepEqual(lookUpRule({ kind: 'delete', version: 5 }, { kind: 'delete', version: 3 }), {
      result: { outcome: 'deleted' },
      after: { kind: 'delete', version: 5 },
    });
    assert.deepEqual(lookUpRule(undefined, { kind: 'delete', version: 0 }), {
      result: { outcome: 'deleted' },
      after: undefined,
    });
  });
});
