import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { DocumentTable, FLAGS, hashOf } from './document-table.ts';

test('a table of hashes answers as a map does, however much is in it', () => {
  const writes = fc.array(
    fc.record({ id: fc.nat(3000).map(String), version: fc.nat(), sequence: fc.nat(), text: fc.string() }),
    { minLength: 1, maxLength: 4000, size: 'max' },
  );
  fc.assert(
    fc.property(writes, (entries) => {
      const table = new DocumentTable();
      const map = new Map<string, { content: Buffer; version: number; sequence: number; flags: number }>();
      for (const { id, version, sequence, text } of entries) {
        const entry = { content: hashOf(text), version, sequence, flags: version % 2 };
        table.set(id, entry);
        map.set(id, entry);
      }
      assert.equal(table.size, map.size);
      for (const [id, entry] of map) {
        const found = table.get(id);
        assert.deepEqual(
          { ...found, content: found?.content.toString('hex') },
          { ...entry, content: entry.content.toString('hex') },
        );
      }
      assert.equal(table.get('none'), undefined);
    }),
    { numRuns: 20 },
  );
});

test('flags add up, and can be changed for all', () => {
  const table = new DocumentTable();
  for (const id of ['a', 'b']) table.set(id, { content: hashOf(id), version: 0, sequence: 1, flags: 0 });
  table.mark('a', FLAGS.stored);
  table.mark('a', FLAGS.send);
  assert.equal(table.get('a')?.flags, FLAGS.stored | FLAGS.send);
  let seen = 0;
  table.update(({ flags }) => {
    seen++;
    return (flags & FLAGS.stored) === 0 ? FLAGS.deleted : flags;
  });
  assert.equal(seen, 2);
  assert.equal(table.get('b')?.flags, FLAGS.deleted);
});
