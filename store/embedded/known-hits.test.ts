import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { hitsOf } from '../shown.ts';
import { HitPacker, HitUnpacker, KnownHits, type PackedHits } from './known-hits.ts';

test('hits cross as they are, each content once until it is forgotten, and memory is bounded', () => {
  const searches = fc.array(fc.array(fc.nat(30), { minLength: 1, maxLength: 6 }), { maxLength: 60 });
  fc.assert(
    fc.property(searches, fc.integer({ min: 1, max: 12 }), (answers, room) => {
      const packer = new HitPacker();
      // Each takes 400 bytes and its characters.
      const known = new KnownHits(packer.forget, room * 500);
      const unpacker = new HitUnpacker();
      const crossed = new Set<number>();
      for (const keys of answers) {
        const parts = keys.map((key) => {
          const read = () => ({
            hit: { documentId: `d${key}`, passage: key, title: 't', version: 1, metadata: { key } },
            characters: 50,
          });
          return { shown: known.find(String(key), read), place: { score: Math.random() } };
        });
        const hits = hitsOf(parts);
        const packed = structuredClone(packer.pack(hits)) as PackedHits;
        for (const [number] of packed.news) {
          assert.ok(!crossed.has(number));
          crossed.add(number);
        }
        assert.deepEqual(unpacker.unpack(packed), hits);
        for (const number of packed.gone) assert.ok(crossed.delete(number));
        assert.ok(crossed.size <= room + keys.length, `${crossed.size} are kept`);
      }
    }),
  );
});

test('what is no hit crosses as it is', () => {
  const { pack } = new HitPacker();
  const { unpack } = new HitUnpacker();
  for (const value of [
    undefined,
    null,
    7,
    [],
    [{ documentId: 'a' }],
    { documents: [] },
    new Map([['a', 'b']]),
  ]) {
    assert.equal(pack(value), value);
    assert.equal(unpack(value), value);
  }
});
