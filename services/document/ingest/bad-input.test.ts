import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { status } from '@grpc/grpc-js';
import type { Document } from '../../../proto/generated/scalingnote/v1/Document.ts';
import type { DocumentPatch } from '../../../proto/generated/scalingnote/v1/DocumentPatch.ts';
import type { IngestRequest } from '../../../proto/generated/scalingnote/v1/IngestRequest.ts';
import type { Value } from '../../../proto/generated/google/protobuf/Value.ts';
import { v1 } from '../../../proto/load.ts';
import { MAX_JSON_DEPTH, toStruct } from '../../../proto/struct.ts';
import { unpackStatus } from '../../../proto/status.ts';
import { eventually, startHarness, statusOf, type Harness } from '../testing/harness.ts';

let harness: Harness;
before(async () => {
  harness = await startHarness();
});
after(() => harness.stop());

const metadata = (value: Value): Document => ({
  id: 'bad',
  text: 'text',
  metadata: { fields: { key: value } },
});

/** Lists in lists, as deep as that. */
function nested(depth: number): Value {
  return depth === 0 ? { boolValue: true } : { listValue: { values: [nested(depth - 1)] } };
}

const badDocuments: [what: string, document: Document, field: string][] = [
  ['no id', { text: 'text' }, 'document.id'],
  ['an id that is too long', { id: 'x'.repeat(513), text: 'text' }, 'document.id'],
  ['an id with NUL', { id: 'a\0b', text: 'text' }, 'document.id'],
  ['neither title nor text', { id: 'bad' }, 'document.text'],
  ['nothing but white space', { id: 'bad', title: ' ', text: '\n\t ' }, 'document.text'],
  ['10 MB of text', { id: 'bad', text: 'word '.repeat(2_000_000) }, 'document.text'],
  ['NUL in the text', { id: 'bad', text: 'te\0xt' }, 'document.text'],
  ['half a surrogate pair', { id: 'bad', text: 'te\uD83Dxt' }, 'document.text'],
  ['a title that is too long', { id: 'bad', title: 'é'.repeat(2049), text: 'text' }, 'document.title'],
  ['a version past 2^53 - 1', { id: 'bad', text: 'text', version: '9007199254740992' }, 'document.version'],
  ['metadata of 70 KB', metadata({ stringValue: 'x'.repeat(70_000) }), 'document.metadata'],
  ['NaN in metadata', metadata({ numberValue: Number.NaN }), 'document.metadata.key'],
  [
    'infinity deep in metadata',
    metadata({ listValue: { values: [{ structValue: { fields: { a: { numberValue: Infinity } } } }] } }),
    'document.metadata.key[0].a',
  ],
  [
    'metadata that are nested too deep',
    metadata(nested(MAX_JSON_DEPTH)),
    `document.metadata.key${'[0]'.repeat(MAX_JSON_DEPTH - 1)}`,
  ],
  ['U+200B alone', { id: 'bad', text: '\u200b' }, 'document.text'],
  [
    'invisible characters alone',
    { id: 'bad', title: '\u2060\u00ad', text: '\ufeff\u{e0001}\u202e \ufe0f' },
    'document.text',
  ],
  [
    'a whole number past 2^53 - 1',
    metadata({ numberValue: Number('1234567890123456789') }),
    'document.metadata.key',
  ],
  [
    'such a number below zero, deep in metadata',
    metadata({ structValue: { fields: { a: { listValue: { values: [{ numberValue: -(2 ** 53) }] } } } } }),
    'document.metadata.key.a[0]',
  ],
  ['an empty key', { id: 'bad', text: 'text', metadata: toStruct({ '': 1 }) }, 'document.metadata'],
  [
    'a key with a double quote',
    { id: 'bad', text: 'text', metadata: toStruct({ a: { 'b"c': 1 } }) },
    'document.metadata.a',
  ],
  ['an expiry before 1970', { id: 'bad', text: 'text', expiresAt: { seconds: -1 } }, 'document.expires_at'],
  [
    'an expiry after 9999',
    { id: 'bad', text: 'text', expiresAt: { seconds: 253_402_300_800 } },
    'document.expires_at',
  ],
  [
    'an expiry with too many nanoseconds',
    { id: 'bad', text: 'text', expiresAt: { seconds: 1, nanos: 1_000_000_000 } },
    'document.expires_at',
  ],
  ['NUL in metadata', metadata({ stringValue: '\0' }), 'document.metadata.key'],
];

for (const [what, document, field] of badDocuments) {
  test(`a document with ${what} is rejected alone, and the error names ${field}`, async () => {
    const {
      status: ended,
      outcomes,
      watermark,
    } = await harness
      .ingest()
      .document(1, 'before', 'text')
      .send({ sequence: 2, document })
      .document(3, 'after', 'text')
      .finish();
    assert.equal(ended.code, status.OK);
    assert.equal(watermark, 3);
    const [first, refused, last] = outcomes;
    for (const good of [first, last]) assert.notEqual(good?.kind, 'OUTCOME_KIND_REJECTED');
    assert.equal(refused?.kind, 'OUTCOME_KIND_REJECTED');
    assert.equal(refused.sequence, '2');
    const error = unpackStatus(refused.error!);
    assert.equal(error.code, status.INVALID_ARGUMENT);
    assert.equal(error.reason, 'INVALID_ARGUMENT');
    assert.equal(error.violations?.[0]?.field, field);
    assert.match(error.message, /; \w/, 'says what to do');
    assert.ok(!('bad' in (await harness.store.contents('docs'))));
  });
}

const badPatches: [what: string, patch: DocumentPatch, field: string][] = [
  ['no id', { set: toStruct({ n: 1 }) }, 'patch.id'],
  ['a version past 2^53 - 1', { id: 'bad', version: '9007199254740992' }, 'patch.version'],
  ['a key set and removed', { id: 'bad', set: toStruct({ n: 1 }), remove: ['m', 'n'] }, 'patch.remove[1]'],
  ['a key with a double quote', { id: 'bad', set: toStruct({ 'a"b': 1 }) }, 'patch.set'],
  ['a number past 2^53 - 1', { id: 'bad', set: toStruct({ n: 2 ** 53 }) }, 'patch.set.n'],
  ['70 KB to set', { id: 'bad', set: toStruct({ n: 'x'.repeat(70_000) }) }, 'patch.set'],
  ['NUL in a key to remove', { id: 'bad', remove: ['\0'] }, 'patch.remove[0]'],
  [
    '200 KB of keys to remove',
    { id: 'bad', remove: Array.from({ length: 4 }, () => 'x'.repeat(50_000)) },
    'patch.remove',
  ],
];
for (const [what, patch, field] of badPatches) {
  test(`a patch with ${what} is rejected alone, and the error names ${field}`, async () => {
    const { outcomes, watermark } = await harness
      .ingest()
      .send({ sequence: 1, patch })
      .document(2, 'after', 'text')
      .finish();
    assert.equal(watermark, 2);
    const error = unpackStatus(outcomes[0]!.error!);
    assert.deepEqual([error.code, error.violations?.[0]?.field], [status.INVALID_ARGUMENT, field]);
    assert.match(error.message, /[;,] \w/, 'says what to do');
    assert.notEqual(outcomes[1]?.kind, 'OUTCOME_KIND_REJECTED');
  });
}

test('what filters can reach, and what no filter looks into, is taken', async () => {
  const value = {
    'unit.price': 1,
    'ein Schlüssel': 2,
    list: [{ '': 1, 'a"b': 2 }],
    n: 2 ** 53 - 1,
    m: -(2 ** 53 - 1),
    x: 1.5e-300,
  };
  const { outcomes } = await harness
    .ingest()
    .document(1, 'odd', '\u200bvisible', { metadata: toStruct(value) })
    .finish();
  assert.equal(outcomes[0]?.kind, 'OUTCOME_KIND_INDEXED');
  assert.deepEqual((await harness.store.contents('docs'))['odd']?.metadata, value);
});

test('a patch that is nested deeper than decoders go is rejected alone', async () => {
  const { path, requestSerialize, responseDeserialize } = v1.DocumentService.service.Ingest;
  const call = harness.client.makeBidiStreamRequest(path, (bytes: Buffer) => bytes, responseDeserialize);
  const events: ReturnType<typeof responseDeserialize>[] = [];
  call.on('data', (event) => events.push(event));
  const ended = new Promise((resolve) => call.on('end', resolve));
  call.write(requestSerialize({ begin: { collection: 'docs' } }));
  let value: Buffer = Buffer.from([0x20, 0x01]);
  for (let depth = 0; depth < 5_000; depth++) value = message(0x32, message(0x0a, value));
  const entry = Buffer.concat([message(0x0a, Buffer.from('key')), message(0x12, value)]);
  const patch = Buffer.concat([message(0x0a, Buffer.from('deep')), message(0x12, message(0x0a, entry))]);
  call.write(Buffer.concat([Buffer.from([0x08, 0x05]), message(0x2a, patch)]));
  call.end();
  await ended;
  const [outcome] = events.flatMap(({ outcome: each }) => each ?? []);
  assert.deepEqual([outcome?.documentId, outcome?.kind], ['deep', 'OUTCOME_KIND_REJECTED']);
  assert.equal(unpackStatus(outcome!.error!).violations?.[0]?.field, 'patch');
});

test('bytes that are not UTF-8 are rejected alone', async () => {
  const { client } = harness;
  const { path, requestSerialize, responseDeserialize } = v1.DocumentService.service.Ingest;
  const call = client.makeBidiStreamRequest(path, (bytes: Buffer) => bytes, responseDeserialize);
  const events: ReturnType<typeof responseDeserialize>[] = [];
  call.on('data', (event) => events.push(event));
  const ended = new Promise((resolve) => call.on('end', resolve));
  call.write(requestSerialize({ begin: { collection: 'docs' } }));
  const bytes = requestSerialize({ sequence: 1, document: { id: 'latin', text: 'caf# au lait' } });
  bytes[bytes.indexOf('#')] = 0xe9;
  call.write(bytes);
  call.write(requestSerialize({ sequence: 2, document: { id: 'utf8', text: 'café au lait' } }));
  call.end();
  await ended;
  const outcomes = events.flatMap(({ outcome }) => outcome ?? []);
  assert.deepEqual(
    outcomes.map(({ documentId, kind }) => [documentId, kind]),
    [
      ['latin', 'OUTCOME_KIND_REJECTED'],
      ['utf8', 'OUTCOME_KIND_INDEXED'],
    ],
  );
  assert.equal(unpackStatus(outcomes[0]!.error!).violations?.[0]?.field, 'document.text');
});

test('a document that is nested deeper than decoders go is rejected alone', async () => {
  const { path, requestSerialize, responseDeserialize } = v1.DocumentService.service.Ingest;
  const call = harness.client.makeBidiStreamRequest(path, (bytes: Buffer) => bytes, responseDeserialize);
  const events: ReturnType<typeof responseDeserialize>[] = [];
  call.on('data', (event) => events.push(event));
  const ended = new Promise((resolve) => call.on('end', resolve));
  call.write(requestSerialize({ begin: { collection: 'docs' } }));
  // Value in ListValue in Value: field 6 of Value, field 1 of ListValue. No encoder of ours goes as deep.
  let value: Buffer = Buffer.from([0x20, 0x01]);
  for (let depth = 0; depth < 5_000; depth++) value = message(0x32, message(0x0a, value));
  const entry = Buffer.concat([message(0x0a, Buffer.from('key')), message(0x12, value)]);
  const document = Buffer.concat([
    message(0x0a, Buffer.from('deep')),
    message(0x1a, Buffer.from('text')),
    message(0x22, message(0x0a, entry)),
  ]);
  call.write(Buffer.concat([Buffer.from([0x08, 0x05]), message(0x1a, document)]));
  call.write(requestSerialize({ sequence: 6, document: { id: 'flat', text: 'text' } }));
  call.end();
  await ended;
  const outcomes = events.flatMap(({ outcome }) => outcome ?? []);
  assert.deepEqual(
    outcomes.map(({ sequence, documentId, kind }) => [sequence, documentId, kind]),
    [
      ['5', 'deep', 'OUTCOME_KIND_REJECTED'],
      ['6', 'flat', 'OUTCOME_KIND_INDEXED'],
    ],
  );
  const error = unpackStatus(outcomes[0]!.error!);
  assert.deepEqual([error.reason, error.violations?.[0]?.field], ['INVALID_ARGUMENT', 'document']);
  assert.match(error.message, /32 levels/);
});

/** A field with a length: its tag, the length, the bytes. */
function message(tag: number, bytes: Buffer): Buffer {
  const length = [];
  for (let rest = bytes.length; ; rest >>>= 7) {
    length.push(rest > 0x7f ? (rest & 0x7f) | 0x80 : rest);
    if (rest <= 0x7f) return Buffer.concat([Buffer.from([tag, ...length]), bytes]);
  }
}

test('deletes without an id, and operations with nothing set, are rejected alone', async () => {
  const { status: ended, outcomes } = await harness.ingest().delete(1, '').send({ sequence: 2 }).finish();
  assert.equal(ended.code, status.OK);
  assert.deepEqual(
    outcomes.map(({ error }) => unpackStatus(error!).violations?.[0]?.field),
    ['delete.id', 'operation'],
  );
});

const protocolErrors: [what: string, begin: boolean, requests: IngestRequest[], field: string][] = [
  ['does not begin', false, [{ sequence: 1, document: { id: 'a', text: 'text' } }], 'begin'],
  ['begins with nothing', false, [{}], 'begin'],
  ['begins twice', true, [{ begin: { collection: 'docs' } }], 'begin'],
  ['numbers its begin', false, [{ sequence: 1, begin: { collection: 'docs' } }], 'sequence'],
  ['names no collection', false, [{ begin: {} }], 'begin.collection'],
  ['names a physical collection', false, [{ begin: { collection: 'docs--sp1' } }], 'begin.collection'],
  [
    'has a tenant that is too long',
    false,
    [{ begin: { collection: 'docs', tenant: 'x'.repeat(257) } }],
    'begin.tenant',
  ],
  ['counts from 0', true, [{ sequence: 0, delete: { id: 'a' } }], 'sequence'],
  ['counts past 2^53 - 1', true, [{ sequence: '9007199254740993', delete: { id: 'a' } }], 'sequence'],
];

for (const [what, begin, requests, field] of protocolErrors) {
  test(`a stream that ${what} ends, and the error names ${field}`, async () => {
    const stream = harness.ingest(begin ? { collection: 'docs' } : null);
    for (const request of requests) stream.send(request);
    const { status: ended } = await stream.ended;
    assert.equal(ended.code, status.INVALID_ARGUMENT);
    assert.equal(ended.violations?.[0]?.field, field);
  });
}

test('a sequence that does not grow ends the stream after everything before it is answered', async () => {
  const {
    status: ended,
    outcomes,
    watermark,
  } = await harness.ingest().document(1, 'a', 'one').document(7, 'b', 'two').document(7, 'c', 'three').ended;
  assert.equal(ended.code, status.INVALID_ARGUMENT);
  assert.match(ended.message, /sequence: is 7, after 7/);
  assert.deepEqual(
    outcomes.map(({ sequence }) => sequence),
    ['1', '7'],
  );
  assert.equal(watermark, 7);
});

test('a message that does not decode ends the stream, and the error says where it stood', async () => {
  const { path, requestSerialize, responseDeserialize } = v1.DocumentService.service.Ingest;
  const call = harness.client.makeBidiStreamRequest(path, (bytes: Buffer) => bytes, responseDeserialize);
  const ended = new Promise<Parameters<typeof statusOf>[0]>((resolve) => call.on('error', resolve));
  call.on('data', () => {});
  call.write(requestSerialize({ begin: { collection: 'docs' } }));
  call.write(requestSerialize({ sequence: 41, document: { id: 'a', text: 'text' } }));
  call.write(Buffer.from([0x1a, 0xff]));
  const error = statusOf(await ended);
  assert.equal(error.code, status.INVALID_ARGUMENT);
  assert.equal(error.reason, 'MALFORMED_MESSAGE');
  assert.match(error.message, /after sequence 41/);
});

test('a trace context that is none does no harm', async () => {
  const { outcomes } = await harness
    .ingest()
    .document(1, 'traced', 'text', { traceparent: 'nonsense' })
    .finish();
  assert.equal(outcomes[0]?.kind, 'OUTCOME_KIND_INDEXED');
});

test('metadata as deep as they may be, and keys that objects have by themselves, are kept', async () => {
  const deepest = JSON.parse(`${'[{"__proto__":'.repeat(15)}[]${'}]'.repeat(15)}`) as unknown;
  const value = { ['__proto__']: { constructor: 'x' }, hasOwnProperty: deepest };
  const { outcomes } = await harness
    .ingest()
    .document(1, 'proto', 'text', { metadata: toStruct(value) })
    .finish();
  assert.equal(outcomes[0]?.kind, 'OUTCOME_KIND_INDEXED');
  // The order of keys is not kept: nodes of a Qdrant cluster pass payloads on as maps.
  assert.deepStrictEqual((await harness.store.contents('docs'))['proto']?.metadata, value);
});

test('nested metadata comes back as it went in', async () => {
  const value = { list: [1, 'two', null, { deep: true }], empty: {} };
  await harness
    .ingest()
    .document(1, 'nested', 'text', { metadata: toStruct(value) })
    .finish();
  assert.deepStrictEqual((await harness.store.contents('docs')).nested?.metadata, value);
  await eventually(() => harness.pipeline.tokensInFlight === 0);
});
