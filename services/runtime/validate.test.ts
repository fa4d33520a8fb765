import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ServiceError } from './errors.ts';
import {
  checkCollection,
  checkDocumentId,
  checkFinite,
  checkTenant,
  checkText,
  DEFAULT_LIMIT,
  MAX_ID_BYTES,
  MAX_LIMIT,
  MAX_OFFSET,
  MAX_TENANT_BYTES,
  parseLimit,
  parseOffset,
  parseSequence,
  parseVersion,
  requireText,
} from './validate.ts';

/** Expects INVALID_ARGUMENT about one field, with a description that says what to do. */
function refused(field: string, description: RegExp, check: () => unknown): void {
  assert.throws(check, (error) => {
    assert.ok(error instanceof ServiceError);
    assert.equal(error.reason, 'INVALID_ARGUMENT');
    assert.equal(error.violations[0]?.field, field);
    assert.match(error.violations[0].description, description);
    return true;
  });
}

test('a text is measured in bytes of UTF-8', () => {
  checkText('text', '€'.repeat(3), 9);
  refused('text', /is 12 bytes long; send at most 11/, () => checkText('text', '€'.repeat(4), 11));
  refused('text', /is 10 bytes long; send at most 9/, () => checkText('text', 'x'.repeat(10), 9));
});

test('NUL and half a surrogate pair are refused, a whole pair is not', () => {
  refused('text', /NUL character at 3/, () => checkText('text', 'abc\0', 100));
  refused('text', /surrogate/, () => checkText('text', 'a\ud83d', 100));
  checkText('text', 'a\u{1f600}', 100);
});

test('a text that is required has something in it', () => {
  refused('query', /is empty/, () => requireText('query', '', 100));
  refused('query', /white space only/, () => requireText('query', ' \t\n\u3000', 100));
  refused('query', /invisible characters/, () => requireText('query', '\u200b\ufeff', 100));
  requireText('query', ' ? ', 100);
});

for (const name of ['a', 'A-1_b', 'x'.repeat(64), '-', '_-_']) {
  test(`"${name.slice(0, 8)}" is a collection's name`, () => checkCollection(name));
}
for (const name of ['', 'a--b', '--', 'x'.repeat(65), 'a b', 'a/b', '../a', 'ä', 'a\n', 'a.b', 'a\0']) {
  test(`${JSON.stringify(name.slice(0, 8))} is no collection's name`, () => {
    refused('collection', name === '' ? /is empty/ : /use 1 to 64 of/, () => checkCollection(name));
  });
}

test('tenants and document ids have a length', () => {
  checkTenant('');
  checkTenant('t'.repeat(MAX_TENANT_BYTES));
  refused('tenant', /send at most 256/, () => checkTenant('t'.repeat(MAX_TENANT_BYTES + 1)));
  checkDocumentId('i'.repeat(MAX_ID_BYTES));
  refused('id', /send at most 512/, () => checkDocumentId('i'.repeat(MAX_ID_BYTES + 1)));
  refused('document_ids[3]', /is empty/, () => checkDocumentId('', 'document_ids[3]'));
});

test('versions are exact up to 2^53 - 1', () => {
  assert.equal(parseVersion('0'), 0);
  assert.equal(parseVersion('9007199254740991'), Number.MAX_SAFE_INTEGER);
  for (const text of ['9007199254740992', '18446744073709551615', '-1', '1.5', '', '1e3', ' 1']) {
    refused('version', /whole number from 0 to 9007199254740991/, () => parseVersion(text));
  }
});

test('sequences go up, gaps allowed', () => {
  assert.equal(parseSequence('1', 0), 1);
  assert.equal(parseSequence('9', 1), 9);
  refused('sequence', /count from 1/, () => parseSequence('0', 0));
  refused('sequence', /is 9, after 9/, () => parseSequence('9', 9));
  refused('sequence', /is 3, after 9/, () => parseSequence('3', 9));
});

test('limit and offset have bounds, and limit a default', () => {
  assert.equal(parseLimit(undefined), DEFAULT_LIMIT);
  assert.equal(parseLimit(1), 1);
  assert.equal(parseLimit(MAX_LIMIT), MAX_LIMIT);
  refused('limit', /is 0; send 1 to 1000/, () => parseLimit(0));
  refused('limit', /is 1001/, () => parseLimit(MAX_LIMIT + 1));
  assert.equal(parseOffset(MAX_OFFSET), MAX_OFFSET);
  refused('offset', /is 10001/, () => parseOffset(MAX_OFFSET + 1));
});

test('numbers that are none are refused', () => {
  checkFinite('x', -1e308);
  for (const value of [Number.NaN, Infinity, -Infinity]) {
    refused('x', /send a finite number/, () => checkFinite('x', value));
  }
});
