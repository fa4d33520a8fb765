import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status, type ServerErrorResponse } from '@grpc/grpc-js';
import { decodeStatus, STATUS_DETAILS_TRAILER, unpackStatus, type RichStatus } from '../../proto/status.ts';
import type { Status__Output } from '../../proto/generated/google/rpc/Status.ts';
import { collectionNotFound, spaceMismatch, StoreError, type StoreErrorReason } from '../../store/errors.ts';
import { TowerError } from '../../towers/errors.ts';
import {
  cancelled,
  DEFAULT_RETRY_DELAY_MS,
  invalidArgument,
  invalidArguments,
  MAX_MESSAGE_CHARS,
  MAX_VIOLATIONS,
  reportError,
  ServiceError,
  toGrpcError,
  toRichStatus,
  toServiceError,
} from './errors.ts';
import { recordingLog } from './testing/harness.ts';

function trailerOf(error: ServerErrorResponse): RichStatus {
  const [bytes] = error.metadata!.get(STATUS_DETAILS_TRAILER);
  return decodeStatus(bytes as Buffer);
}

const STORE_CASES: [StoreErrorReason, status, boolean][] = [
  ['COLLECTION_NOT_FOUND', status.NOT_FOUND, false],
  ['SPACE_MISMATCH', status.FAILED_PRECONDITION, false],
  ['COLLECTION_FOREIGN', status.FAILED_PRECONDITION, false],
  ['STORE_INVALID_ARGUMENT', status.INVALID_ARGUMENT, false],
  ['STORE_UNAVAILABLE', status.UNAVAILABLE, true],
  ['STORE_UNAUTHENTICATED', status.FAILED_PRECONDITION, false],
  ['STORE_PERMISSION_DENIED', status.FAILED_PRECONDITION, false],
  ['STORE_FULL', status.RESOURCE_EXHAUSTED, false],
  ['STORE_UNSUPPORTED', status.FAILED_PRECONDITION, false],
  ['STORE_OVERLOADED', status.RESOURCE_EXHAUSTED, true],
];

for (const [reason, code, retryable] of STORE_CASES) {
  test(`a store's ${reason} becomes ${status[code]}${retryable ? ' with a time to retry' : ''}`, () => {
    const error = toServiceError(new StoreError(reason, 'as it is', { metadata: { collection: 'c' } }));
    assert.deepEqual(
      [error.code, error.reason, error.message, error.metadata],
      [code, reason, 'as it is', { collection: 'c' }],
    );
    assert.equal(error.retryDelayMs, retryable ? DEFAULT_RETRY_DELAY_MS : undefined);
  });
}

test('the time to retry that the part itself advises is passed on', () => {
  assert.equal(toServiceError(new StoreError('STORE_OVERLOADED', '', { retryDelayMs: 70 })).retryDelayMs, 70);
  const overloaded = toServiceError(new TowerError('ENCODER_OVERLOADED', 'full', { retryDelayMs: 40 }));
  assert.deepEqual([overloaded.code, overloaded.reason], [status.RESOURCE_EXHAUSTED, 'ENCODER_OVERLOADED']);
  assert.equal(overloaded.retryDelayMs, 40);
});

test('a closed encoder is UNAVAILABLE, to be tried again', () => {
  const error = toServiceError(new TowerError('ENCODER_CLOSED', 'closed'));
  assert.equal(error.code, status.UNAVAILABLE);
  assert.equal(error.retryDelayMs, DEFAULT_RETRY_DELAY_MS);
});

test('aborts and timeouts are CANCELLED and DEADLINE_EXCEEDED', () => {
  assert.equal(toServiceError(AbortSignal.abort().reason).code, status.CANCELLED);
  assert.equal(toServiceError(new DOMException('late', 'TimeoutError')).code, status.DEADLINE_EXCEEDED);
});

test('a service error stays what it is', () => {
  const error = cancelled();
  assert.equal(toServiceError(error), error);
});

for (const [what, thrown] of [
  ['an unknown error', new Error('password=hunter2 in /etc/secret')],
  ['a store that broke', new StoreError('STORE_INTERNAL', 'password=hunter2')],
  ['a tower that broke', new TowerError('TOWER_INTEGRITY', 'password=hunter2')],
  ['something that is no error', 'password=hunter2'],
] as const) {
  test(`${what} is INTERNAL: the log has the cause, the caller a reference to it`, () => {
    const { log, lines } = recordingLog();
    const error = reportError(thrown, log, { method: 'Search' });
    assert.equal(error.code, status.INTERNAL);
    const seen = JSON.stringify(trailerOf(toGrpcError(error))) + toGrpcError(error).details;
    assert.doesNotMatch(seen, /hunter2|secret/);
    assert.equal(lines.length, 1);
    assert.match(JSON.stringify(lines[0]), /hunter2/);
    assert.equal(lines[0]!['reference'], error.metadata['reference']);
    assert.ok(error.message.includes(error.metadata['reference']!));
  });
}

test('an error that we expect leaves no line in the log', () => {
  const { log, lines } = recordingLog();
  reportError(collectionNotFound('c'), log, {});
  assert.deepEqual(lines, []);
});

test('grpc-js gets code, message and the rich status as trailer', () => {
  const grpc = toGrpcError(toServiceError(spaceMismatch('c', 'sp1_a', 'sp1_b')));
  assert.equal(grpc.code, status.FAILED_PRECONDITION);
  const rich = trailerOf(grpc);
  assert.equal(rich.message, grpc.details);
  assert.equal(rich.reason, 'SPACE_MISMATCH');
  assert.deepEqual(
    { ...rich.metadata },
    { collection: 'c', collection_space: 'sp1_a', tower_space: 'sp1_b' },
  );
});

test('fields that are wrong are listed', () => {
  const rich = trailerOf(toGrpcError(invalidArgument('limit', 'is 0; send 1 to 1000')));
  assert.equal(rich.message, 'limit: is 0; send 1 to 1000');
  const [violation] = rich.violations ?? [];
  assert.deepEqual([violation?.field, violation?.description], ['limit', 'is 0; send 1 to 1000']);
});

test('an error fits into the headers of HTTP/2, whatever it quotes', () => {
  const violations = Array.from({ length: 100 }, (_, index) => ({
    field: `f${index}`,
    description: 'é'.repeat(100),
  }));
  const grpc = toGrpcError(invalidArguments(violations));
  assert.equal(grpc.details?.length, MAX_MESSAGE_CHARS);
  assert.equal(trailerOf(grpc).violations?.length, MAX_VIOLATIONS);
});

test('half a surrogate pair in a message does not break the answer', () => {
  const grpc = toGrpcError(
    new ServiceError(status.INVALID_ARGUMENT, 'X', `${'x'.repeat(MAX_MESSAGE_CHARS - 2)}😀x`),
  );
  assert.doesNotThrow(() => encodeURI(grpc.details!));
});

test('a status inside an answer has the same parts', () => {
  const packed = toRichStatus(
    toServiceError(new StoreError('STORE_UNAVAILABLE', 'down', { retryDelayMs: 1500 })),
  );
  const rich = unpackStatus(packed as Status__Output);
  assert.deepEqual(
    [rich.code, rich.message, rich.reason, rich.retryDelayMs],
    [status.UNAVAILABLE, 'down', 'STORE_UNAVAILABLE', 1500],
  );
});
