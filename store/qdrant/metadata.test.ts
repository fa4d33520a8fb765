import assert from 'node:assert/strict';
import { it } from 'node:test';
import { exactMetadata, metadataOf } from './metadata.ts';

/** Numbers that serde_json 1.0 reads back as others, from its issues 128, 604, 707, 937, 1170 and 1336. */
const CHANGED = [
  117.63331139400017, 10587.436593658975, 0.9215686321258545, 0.09144338512092887, 0.9146155235219107,
  1.5777777777770001, -8.990567403888024e-203, -4.4737164812014446e192, 1.5e-300,
];

const KEPT = [0, 0.5, -1.25, 0.1, 1e-7, 19.99, 1700000000000, 2 ** 53 - 1, -(2 ** 53 - 1), 1e22, 123456.789];

it('numbers that the server changes are known, wherever they stand', () => {
  for (const value of CHANGED) {
    for (const metadata of [{ value }, { list: [1, { value }] }]) {
      const json = JSON.stringify(metadata);
      assert.equal(exactMetadata(json, metadata), json, json);
      assert.deepEqual(metadataOf({ metadata: { value: 0 }, exact_metadata: json }), metadata);
    }
  }
});

it('numbers that the server keeps are stored once', () => {
  for (const value of KEPT) assert.equal(exactMetadata('', { list: [{ value }] }), null, String(value));
  assert.deepEqual(metadataOf({ metadata: { value: 1 }, exact_metadata: null }), { value: 1 });
  assert.deepEqual(metadataOf({ metadata: { value: 1 } }), { value: 1 });
  assert.deepEqual(metadataOf({}), {});
});
