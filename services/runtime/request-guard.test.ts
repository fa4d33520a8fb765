import assert from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { v1 } from '../../proto/load.ts';
import { toStruct } from '../../proto/struct.ts';
import { fatalFlawOf, flawOf, guarded } from './request-guard.ts';

const { Ingest } = guarded(v1.DocumentService.service);
const { Search } = guarded(v1.QueryService.service);

/** A query as bytes: field 3 of SearchRequest, whatever the bytes. */
function searchBytes(query: Buffer): Buffer {
  const length = [];
  for (let rest = query.length; ; rest >>>= 7) {
    length.push(rest > 0x7f ? (rest & 0x7f) | 0x80 : rest);
    if (rest <= 0x7f) break;
  }
  return Buffer.concat([Search.requestSerialize({ collection: 'c' }), Buffer.from([0x1a, ...length]), query]);
}

/** Replaces a marker in a message by other bytes of the same length. */
function smuggle(message: Buffer, marker: string, bytes: number[]): Buffer {
  const at = message.indexOf(marker);
  assert.ok(at > 0 && bytes.length === marker.length);
  return Buffer.concat([message.subarray(0, at), Buffer.from(bytes), message.subarray(at + bytes.length)]);
}

test('a request of UTF-8 has no flaw, U+FFFD included', () => {
  for (const query of ['stars', 'Sterne über Köln', '星', '\uFFFD', `\uFFFD${'x'.repeat(200)}`]) {
    assert.equal(flawOf(Search.requestDeserialize(searchBytes(Buffer.from(query)))), undefined, query);
  }
});

for (const [what, bytes] of [
  ['a lone continuation byte', [0x61, 0x80]],
  ['Latin-1', [0x63, 0x61, 0x66, 0xe9]],
  ['a cut character', [0x61, 0xe2, 0x82]],
  ['an overlong slash', [0xc0, 0xaf]],
  ['half a surrogate pair', [0xed, 0xa0, 0xbd]],
  ['a character beyond Unicode', [0xf4, 0x90, 0x80, 0x80]],
  ['a bad byte beside a real U+FFFD', [0xef, 0xbf, 0xbd, 0xff]],
] as const) {
  test(`${what} is found, and the field named`, () => {
    const flaw = flawOf(Search.requestDeserialize(searchBytes(Buffer.from(bytes))));
    assert.equal(flaw?.violations[0]?.field, 'query');
    assert.match(flaw.message, /not UTF-8/);
  });
}

test('the field is named as the contract spells it, wherever it is', () => {
  const message = Ingest.requestSerialize({
    sequence: 1,
    document: { id: 'd', text: 'a \uFFFD that is meant', metadata: toStruct({ Colour: ['ok', 'MARK'] }) },
  });
  const flaw = flawOf(Ingest.requestDeserialize(smuggle(message, 'MARK', [0x61, 0xff, 0xff, 0x61])));
  assert.deepEqual(
    flaw?.violations.map(({ field }) => field),
    ['document.metadata.Colour[1]'],
  );
});

test('a bad key counts as well', () => {
  const message = Ingest.requestSerialize({
    sequence: 1,
    document: { id: 'd', metadata: toStruct({ MARK: 1 }) },
  });
  const flaw = flawOf(Ingest.requestDeserialize(smuggle(message, 'MARK', [0x61, 0xff, 0xff, 0x61])));
  assert.equal(flaw?.violations[0]?.field, 'document.metadata');
});

test('a message that is none is told from one that can be read', () => {
  // A collection of 111 bytes, of which three are there.
  const cut = Buffer.from([0x0a, 0x6f, 0x61, 0x62, 0x63]);
  for (const bytes of [
    Buffer.from([0x0a, 0xff]),
    Buffer.from([0x0b]),
    Buffer.from('not protobuf at all'),
    cut,
  ]) {
    const request = Search.requestDeserialize(bytes);
    assert.equal(fatalFlawOf(request)?.reason, 'MALFORMED_MESSAGE');
    assert.equal(flawOf(request), fatalFlawOf(request));
  }
  assert.equal(fatalFlawOf(Search.requestDeserialize(searchBytes(Buffer.from([0xff])))), undefined);
});

test('a message nested deeper than any stack does not take the service down', () => {
  // Filter in filter in filter: each level is `must` (1) of Condition with `filter` (5).
  let inner = Buffer.alloc(0);
  for (let depth = 0; depth < 20_001; depth++) {
    inner = Buffer.concat([Buffer.from([depth % 2 === 0 ? 0x0a : 0x2a]), varint(inner.length), inner]);
  }
  const request = Buffer.concat([Buffer.from([0x32]), varint(inner.length), inner]);
  assert.equal(fatalFlawOf(Search.requestDeserialize(request))?.reason, 'MALFORMED_MESSAGE');
});

function varint(value: number): Buffer {
  const bytes = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) {
      bytes.push(rest);
      return Buffer.from(bytes);
    }
    bytes.push((rest % 128) | 0x80);
  }
}

test('property: flawed exactly when the bytes are not UTF-8', () => {
  const pieces = fc.oneof(
    fc.string({ unit: 'binary' }).map((text) => Buffer.from(text)),
    fc.constant(Buffer.from('\uFFFD')),
    fc.uint8Array({ maxLength: 4 }).map((bytes) => Buffer.from(bytes)),
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 6 }), (parts) => {
      const query = Buffer.concat(parts);
      const flaw = flawOf(Search.requestDeserialize(searchBytes(query)));
      assert.equal(flaw === undefined, isUtf8(query));
    }),
    { numRuns: 2000 },
  );
});
