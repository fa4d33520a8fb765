import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DocumentClient, FullDocument } from '../../clients/index.ts';
import { toOperation } from '../../clients/record-operation.ts';
import type { SourceRecord } from './documents.ts';
import { type Differences, Expected, isEqual } from './verify.ts';

const signal = new AbortController().signal;

async function* source(records: readonly object[]): AsyncGenerator<SourceRecord> {
  for (const [index, record] of records.entries()) {
    yield { sequence: index + 1, file: 'f', line: index + 1, operation: toOperation(record) };
  }
}

/** A collection that holds some documents. */
function holding(documents: readonly (Partial<FullDocument> & { id: string })[]): DocumentClient {
  async function* exportDocuments(): AsyncGenerator<FullDocument> {
    for (const document of documents) {
      yield {
        title: '',
        text: 't',
        metadata: {},
        version: 0,
        tenant: '',
        contentHash: '',
        passages: [],
        ...document,
      };
    }
  }
  return { exportDocuments } as unknown as DocumentClient;
}

async function compared(
  records: readonly object[],
  stored: readonly (Partial<FullDocument> & { id: string })[],
  deleteMissing = false,
): Promise<{ found: Differences; sent: unknown[] }> {
  const expected = await Expected.of(source(records), () => assert.fail(), signal);
  const found = await expected.compare(holding(stored), { collection: 'c', tenant: '', signal });
  const sent: unknown[] = [];
  for await (const record of expected.toSend(source(records), deleteMissing ? found.extraIds : [])) {
    if ('operation' in record) sent.push(record.operation);
  }
  return { found, sent };
}

test('order of keys is no difference; a version, an expiry or a value of another type is one', async () => {
  const metadata = { a: 1, b: { c: [1, 'x'], d: null } };
  const record = { id: '1', text: 't', metadata };
  const same = await compared([record], [{ id: '1', metadata: { b: { d: null, c: [1, 'x'] }, a: 1 } }]);
  assert.ok(isEqual(same.found));
  assert.deepEqual(same.sent, []);
  for (const stored of [
    { id: '1', metadata: { ...metadata, a: '1' } },
    { id: '1', metadata, expiresAt: new Date(0) },
    { id: '1', metadata, title: 'x' },
  ]) {
    const { found, sent } = await compared([record], [stored]);
    assert.equal(found.different, 1);
    assert.equal(sent.length, 1);
  }
  const older = await compared([{ ...record, version: 3 }], [{ id: '1', metadata, version: 2 }]);
  assert.equal(older.found.different, 1);
});

test('the last word of the source counts: its highest version, and the last of equal ones', async () => {
  const words = [
    { id: '1', text: 'new', version: 2 },
    { id: '1', text: 'old', version: 1 },
    { id: '2', text: 'first' },
    { id: '2', text: 'last' },
  ];
  const stored = [
    { id: '1', text: 'new', version: 2 },
    { id: '2', text: 'last' },
  ];
  const equal = await compared(words, stored);
  assert.ok(isEqual(equal.found));
  assert.equal(equal.found.source, 2);
  const { sent } = await compared(words, []);
  assert.deepEqual(
    sent.map((each) => (each as { text: string }).text),
    ['new', 'last'],
  );
});

test('deletes of the source, newer documents, and documents of the collection alone', async () => {
  const records = [
    { id: '1', text: 'x' },
    { delete: '1' },
    { delete: '2' },
    { id: '3', text: 't', version: 1 },
  ];
  const stored = [{ id: '1' }, { id: '3', version: 5 }, { id: '4', version: 7 }];
  const { found, sent } = await compared(records, stored, true);
  assert.deepEqual([found.extra, found.newer, found.missing, found.extraIds], [2, 1, 0, ['4']]);
  assert.deepEqual(sent, [
    { delete: '1', version: 0 },
    { delete: '4', version: 7 },
  ]);
});

test('what can not be compared is sent, and said', async () => {
  const { found, sent } = await compared(
    [
      { id: '1', text: 't' },
      { patch: '1', set: { a: 1 } },
    ],
    [{ id: '1', text: undefined as never, missingText: 'omitted' }],
  );
  assert.deepEqual([found.withoutText, found.patches], [1, 1]);
  assert.equal(sent.length, 2);
  assert.ok(!isEqual(found));
});
