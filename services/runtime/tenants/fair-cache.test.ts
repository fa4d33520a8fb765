import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { FairCache } from './fair-cache.ts';

test('an owner sees what is its own alone', () => {
  const cache = new FairCache<number>(10);
  cache.set('a', 'text', 1);
  assert.equal(cache.get('b', 'text'), undefined);
  cache.set('b', 'text', 2);
  assert.deepEqual([cache.get('a', 'text'), cache.get('b', 'text')], [1, 2]);
  cache.drop('a');
  assert.deepEqual([cache.get('a', 'text'), cache.get('b', 'text'), cache.size], [undefined, 2, 1]);
});

test('one that alone uses it has all of it, the least recently used goes first', () => {
  const cache = new FairCache<number>(3);
  for (const key of ['x', 'y', 'z']) cache.set('a', key, 0);
  cache.get('a', 'x');
  cache.set('a', 'w', 0);
  assert.deepEqual(
    ['x', 'y', 'z', 'w'].map((key) => cache.get('a', key)),
    [0, undefined, 0, 0],
  );
});

test('whatever others do, what an owner has up to its share stays; and the sum is bounded', () => {
  const max = 12;
  const owners = ['a', 'b', 'c'];
  const step = fc.record({
    owner: fc.constantFrom<string>('b', 'c'),
    key: fc.nat({ max: 30 }).map(String),
    kind: fc.constantFrom('set', 'get'),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), fc.nat({ max: max / 3 }), (steps, own) => {
      const cache = new FairCache<string>(max);
      for (let key = 0; key < own; key++) cache.set('a', String(key), 'mine');
      for (const { owner, key, kind } of steps) {
        if (kind === 'set') cache.set(owner, key, owner);
        else assert.ok([undefined, owner].includes(cache.get(owner, key)));
        assert.ok(cache.size <= max);
        assert.equal(
          cache.size,
          owners.reduce((sum, each) => sum + cache.sizeOf(each), 0),
        );
      }
      for (let key = 0; key < own; key++) assert.equal(cache.get('a', String(key)), 'mine');
    }),
  );
});
