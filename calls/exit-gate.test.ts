import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ThreadGate } from './exit-gate.ts';

test('a gate stays busy until the last of several works has ended', () => {
  const memory = new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT);
  const busy = (): number => Atomics.load(new Int32Array(memory), 1);
  const gate = new ThreadGate(memory);
  gate.enter();
  // A call is cancelled while another one waits for its promise.
  gate.enter();
  gate.leave();
  assert.equal(busy(), 1);
  gate.leave();
  assert.equal(busy(), 0);
  gate.enter();
  assert.equal(busy(), 1);
  gate.leave();
});
