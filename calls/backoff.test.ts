import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backoffMs } from './backoff.ts';

test('the longest wait doubles with each attempt, up to a ceiling', (context) => {
  context.mock.method(Math, 'random', () => 1);
  const waits = [1, 2, 3, 4, 5].map((attempt) => backoffMs(attempt, { firstMs: 100, longestMs: 700 }));
  assert.deepEqual(waits, [100, 200, 400, 700, 700]);
});

test('a wait is a random part of the longest one', (context) => {
  const random = context.mock.method(Math, 'random', () => 0);
  assert.equal(backoffMs(3, { firstMs: 100, longestMs: 700 }), 0);
  random.mock.mockImplementation(() => 0.25);
  assert.equal(backoffMs(3, { firstMs: 100, longestMs: 700 }), 100);
});
