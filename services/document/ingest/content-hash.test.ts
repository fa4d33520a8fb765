import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { JsonObject, JsonValue } from '../../../proto/struct.ts';
import { canonicalJson } from '../../../towers/json.ts';
import { contentHash, type HashedContent } from './content-hash.ts';

const content: HashedContent = {
  title: 'title',
  text: 'text',
  metadata: { a: 1, b: [true, null] },
  omitText: false,
};

test('everything that shapes what is stored is in the hash', () => {
  const variants: HashedContent[] = [
    content,
    { ...content, title: 'other' },
    { ...content, text: 'other' },
    { ...content, metadata: { a: 1, b: [null, true] } },
    { ...content, metadata: { a: '1', b: [true, null] } },
    { ...content, metadata: {} },
    { ...content, omitText: true },
    { ...content, title: 'text', text: 'title' },
    { ...content, title: 'titlet', text: 'ext' },
  ];
  assert.equal(new Set(variants.map(contentHash)).size, variants.length);
});

test('the hash is stable: a change of it would encode every document anew', () => {
  assert.equal(contentHash(content), 'Y6MBJ7oBjv_gVdhroMgTSwed47gjETkbHqY1RJaw2Zg');
});

test('the order of keys does not matter, at any depth', () => {
  fc.assert(
    fc.property(fc.object({ values: [fc.string(), fc.integer(), fc.boolean()] }), (object) => {
      const metadata = JSON.parse(JSON.stringify(object)) as JsonObject;
      assert.equal(canonicalJson(reversed(metadata)), canonicalJson(metadata));
      assert.deepEqual(JSON.parse(canonicalJson(metadata)), metadata);
    }),
  );
});

function reversed(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== 'object' || value === null) return value;
  const members = Object.entries(value).reverse();
  return Object.fromEntries(members.map(([key, member]) => [key, reversed(member)]));
}
