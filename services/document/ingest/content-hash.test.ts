import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { JsonObject, JsonValue } from '../../../proto/struct.ts';
import { canonicalJson } from '../../../towers/json.ts';
import { contentHash, encodingHash, type HashedContent } from './content-hash.ts';

const content: HashedContent = {
  encodingHash: encodingHash({ title: 'title', text: 'text' }),
  metadata: { a: 1, b: [true, null] },
  omitText: false,
};

test('everything that shapes what is stored is in the hash', () => {
  const encoded = [
    { title: 'title', text: 'text' },
    { title: 'other', text: 'text' },
    { title: 'title', text: 'other' },
    { title: 'text', text: 'title' },
    { title: 'titlet', text: 'ext' },
  ];
  const variants: HashedContent[] = [
    ...encoded.map((each) => ({ ...content, encodingHash: encodingHash(each) })),
    { ...content, metadata: { a: 1, b: [null, true] } },
    { ...content, metadata: { a: '1', b: [true, null] } },
    { ...content, metadata: {} },
    { ...content, omitText: true },
    { ...content, expiresAt: 0 },
    { ...content, expiresAt: 1 },
  ];
  assert.equal(new Set(variants.map(contentHash)).size, variants.length);
});

test('the hashes are stable: a change would write or encode every document anew', () => {
  assert.equal(content.encodingHash, 'QyQR6atx2INVrEfy-CoEow1gqcfY04y3NPVQBcwgx14');
  assert.equal(contentHash(content), 'y5SCim1AkxqfNqMB83GqjSCxPIfSIuMh68-uxm5Ld1c');
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
