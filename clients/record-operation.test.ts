import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toWireOperation } from './operation.ts';
import { toOperation } from './record-operation.ts';

test('a record is a document, a delete or a patch', () => {
  assert.deepEqual(toOperation({ _id: 'a', text: 'x', expires_at: '2030-01-31' }), {
    id: 'a',
    title: '',
    text: 'x',
    version: 0,
    metadata: {},
    expiresAt: new Date('2030-01-31T00:00:00Z'),
  });
  assert.deepEqual(toOperation({ delete: 'a', version: 3 }), { delete: 'a', version: 3 });
  assert.deepEqual(toOperation({ patch: 'a', set: { n: 1 }, remove: ['m'] }), {
    patch: 'a',
    set: { n: 1 },
    remove: ['m'],
    version: 0,
  });
});

const times: [written: string, ms: number][] = [
  ['2030-01-31', Date.UTC(2030, 0, 31)],
  ['2030-01-31T12:00Z', Date.UTC(2030, 0, 31, 12)],
  ['2030-01-31T12:00:00.25+02:00', Date.UTC(2030, 0, 31, 10, 0, 0, 250)],
  ['2028-02-29', Date.UTC(2028, 1, 29)],
];
for (const [written, ms] of times) {
  test(`"expires_at" takes ${written}`, () => {
    const read = toOperation({ id: 'a', expires_at: written });
    assert.equal('expiresAt' in read && read.expiresAt?.getTime(), ms);
  });
}

const wrong: [record: unknown, problem: RegExp][] = [
  [{ delete: 'a', text: 'x' }, /key "text" is not known; a delete has/],
  [{ delete: '' }, /"delete" must be the id/],
  [{ delete: 7 }, /"delete" must be the id/],
  [{ patch: 'a', metadata: {} }, /key "metadata" is not known; a patch has/],
  [{ patch: '' }, /"patch" must be the id/],
  [{ patch: 'a', set: [] }, /"set" must be an object/],
  [{ patch: 'a', remove: 'm' }, /"remove" must be a list/],
  [{ patch: 'a', remove: [1] }, /"remove" must be a list/],
  [{ patch: 'a', version: '1' }, /"version" is "1", but must be a whole number/],
  [{ id: 'a', _id: 'a' }, /"_id" and "id"/],
  ...[
    '2030-02-30',
    '2030-01-31T12:00:00',
    '31.1.2030',
    1_900_000_000,
    null,
    '2030-13-01',
    '2030-01-31T25:00Z',
  ].map((time): [unknown, RegExp] => [
    { id: 'a', expires_at: time },
    /"expires_at" must be a date, or a time/,
  ]),
];
for (const [record, problem] of wrong) {
  test(`${JSON.stringify(record)} is refused, and the fix is named`, () => {
    assert.throws(() => toOperation(record), problem);
  });
}

test('times and patches travel exactly', () => {
  const document = { id: 'a', expiresAt: new Date(-1) };
  assert.deepEqual(toWireOperation(1, document).message.document?.expiresAt, {
    seconds: -1,
    nanos: 999_000_000,
  });
  const { message, bytes } = toWireOperation(2, { patch: 'é', set: { n: 1 }, remove: ['m'], version: 4 });
  assert.deepEqual(message, {
    sequence: 2,
    patch: {
      id: 'é',
      set: { fields: { n: { numberValue: 1 } } },
      remove: ['m'],
      version: 4,
    },
  });
  // The id, the key and its number, and the key to remove.
  assert.equal(bytes, 2 + (1 + 8) + 1);
});

test('what cannot travel is refused by name', () => {
  const refused = (operation: Parameters<typeof toWireOperation>[1], message: RegExp): void =>
    assert.throws(() => toWireOperation(1, operation), message);
  refused({ id: 'a', expiresAt: new Date(Number.NaN) }, /^ScalingnoteError: expiresAt: must be a valid Date/);
  refused({ patch: 'a', set: { n: Number.NaN } }, /set\.n is not a JSON value/);
  refused({ patch: 'a', remove: ['\ud800'] }, /remove\[0\]: holds half/);
  refused({ patch: 'a', set: { n: 'x'.repeat(33 * 1024 * 1024) } }, /patch: has \d+ bytes/);
});
