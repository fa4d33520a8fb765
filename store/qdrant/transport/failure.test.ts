import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { StoreErrorReason } from '../../errors.ts';
import { RECORDED } from '../testing/recorded.ts';
import { connectionFailure, isTooLarge, statusFailure } from './failure.ts';

const CALL = { operation: 'query', method: 'POST', path: '/x', body: '{}', collection: 'docs' } as const;

/** For each recorded answer, its reason, and whether the call may succeed if it is made again. */
const MEANINGS: Record<string, [StoreErrorReason, boolean]> = {
  'describe missing collection': ['COLLECTION_NOT_FOUND', false],
  'create collection, name with a slash': ['STORE_INVALID_ARGUMENT', false],
  'upsert, wrong dimensions': ['STORE_INVALID_ARGUMENT', false],
  'upsert, malformed JSON': ['STORE_INVALID_ARGUMENT', false],
  'upsert into missing collection': ['COLLECTION_NOT_FOUND', false],
  'query, limit 0': ['STORE_INVALID_ARGUMENT', false],
  'query, missing collection': ['COLLECTION_NOT_FOUND', false],
  'query without naming the vector': ['STORE_INVALID_ARGUMENT', false],
  'strict mode, limit over the maximum': ['STORE_INVALID_ARGUMENT', false],
  'strict mode, filter on a field without index': ['STORE_INVALID_ARGUMENT', false],
  'strict mode, read rate, call 3': ['STORE_OVERLOADED', true],
  'no key': ['STORE_UNAUTHENTICATED', false],
  'wrong key': ['STORE_UNAUTHENTICATED', false],
  'read-only key writes': ['STORE_PERMISSION_DENIED', false],
  'body over the server limit': ['STORE_INVALID_ARGUMENT', false],
  'unknown path': ['STORE_UNAVAILABLE', false],
  'upsert just after one of three nodes died': ['STORE_UNAVAILABLE', true],
  'upsert, strong ordering, one node dead': ['STORE_UNAVAILABLE', true],
  'query with consistency all, one node dead': ['STORE_UNAVAILABLE', true],
  'query, two of three nodes dead': ['STORE_UNAVAILABLE', true],
  'alias, two of three nodes dead (no consensus)': ['STORE_UNAVAILABLE', true],
  'describe, two of three nodes dead': ['STORE_UNAVAILABLE', true],
};

function read(name: string) {
  const { status, headers, body } = RECORDED[name]!;
  return statusFailure(CALL, 'http://q:6333', {
    status,
    retryAfter: headers['retry-after'],
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

describe('what Qdrant answers', () => {
  it('is all given a meaning', () => {
    assert.deepEqual(Object.keys(MEANINGS).sort(), Object.keys(RECORDED).sort());
  });

  for (const [name, [reason, retryable]] of Object.entries(MEANINGS)) {
    it(`means ${reason}: ${name}`, () => {
      const failure = read(name);
      assert.equal(failure.error.reason, reason);
      assert.equal(failure.retryable, retryable);
      assert.equal(isTooLarge(failure), name === 'body over the server limit');
    });
  }

  it('says what is wrong with a filter in strict mode', () => {
    assert.match(read('strict mode, filter on a field without index').message, /Create an index/);
  });

  it('says which key is missing', () => {
    assert.match(read('no key').message, /QDRANT_API_KEY/);
    assert.match(read('read-only key writes').message, /write permission/);
  });

  it('tells a full disk from a server that broke', () => {
    const at = (error: string) =>
      statusFailure(CALL, 'q', {
        status: 500,
        retryAfter: undefined,
        body: JSON.stringify({ status: { error } }),
      });
    assert.equal(
      at('Service internal error: No space left on device (os error 28)').error.reason,
      'STORE_FULL',
    );
    assert.equal(at('Service internal error: task panicked').error.reason, 'STORE_INTERNAL');
  });

  it('may not come because its certificate is not trusted', () => {
    const failed = (code: string) =>
      connectionFailure(CALL, 'https://q:6333', Object.assign(new Error('no'), { code })).message;
    assert.match(failed('DEPTH_ZERO_SELF_SIGNED_CERT'), /PEM file/);
    assert.match(failed('CERT_HAS_EXPIRED'), /PEM file/);
    assert.doesNotMatch(failed('ECONNREFUSED'), /PEM file/);
  });
});
