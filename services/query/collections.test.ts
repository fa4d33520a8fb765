import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StoreError } from '../../store/errors.ts';
import { physicalName } from '../../store/store.ts';
import { Collections } from './collections.ts';

const OWN = { fingerprint: `sp1_${'a'.repeat(32)}`, dimensions: 4 };
const OTHER = { fingerprint: `sp1_${'b'.repeat(32)}`, dimensions: 4 };

function collections(admittedSpaces?: string[]): Collections {
  const physical = physicalName('docs', OTHER.fingerprint);
  const key = { name: 'docs', physicalName: physical, space: OTHER, identity: `col_${'0'.repeat(32)}` };
  const found = { ...key, ...(admittedSpaces && { admittedSpaces }) };
  return new Collections(
    { findCollection: () => Promise.resolve(found), aliases: () => Promise.resolve(new Map()) },
    OWN,
  );
}

test('a tower searches a collection of another space where that admits its own', async () => {
  const { signal } = new AbortController();
  const physical = await collections([OWN.fingerprint]).resolve('docs', { signal });
  assert.equal(physical, physicalName('docs', OTHER.fingerprint));
  for (const admitted of [undefined, [`sp1_${'c'.repeat(32)}`]]) {
    await assert.rejects(
      collections(admitted).resolve('docs', { signal }),
      (error) => error instanceof StoreError && error.reason === 'SPACE_MISMATCH',
    );
  }
});
