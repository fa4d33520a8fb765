import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { hitsOf, type Shown } from '../shown.ts';
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
          return { shown: known.find(String(key), 1, read), place: { score: Math.random() } };
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

test('the next state of a document takes the place of the one before', () => {
  const forgotten: Shown[] = [];
  const known = new KnownHits((hit) => forgotten.push(hit));
  const show = (version: number): Shown => ({ documentId: 'a', passage: 0, title: '', version });
  const find = (key: string, state: number): Shown =>
    known.find(key, state, () => ({ hit: show(state), characters: 1 }));
  const first = find('a', 1);
  const other = find('b', 2);
  assert.equal(find('a', 1), first);
  assert.deepEqual(forgotten, []);
  assert.deepEqual(find('a', 3), show(3));
  assert.deepEqual(forgotten, [first]);
  assert.equal(find('b', 2), other);
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
