import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { limits } from '../../../machine/limits.ts';
import { budgetsOf } from './budgets.ts';
import { BytesInFlight } from './bytes-in-flight.ts';
import { MAX_INFLATION, MessageMeter } from './message-meter.ts';

const MAX = 1_000_000;

function message(payload: Buffer, compressed = false): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = Number(compressed);
  prefix.writeUInt32BE(payload.length, 1);
  return Buffer.concat([prefix, payload]);
}

test('a message counts from its length on, however its bytes are cut', () => {
  const bytes = Buffer.concat([message(Buffer.alloc(300)), message(Buffer.alloc(7))]);
  for (const step of [1, 2, 3, 5, 64, 1000]) {
    const held = new BytesInFlight(MAX);
    const meter = new MessageMeter(held, MAX);
    for (let at = 0; at < bytes.length; at += step) {
      assert.ok(meter.read(bytes.subarray(at, at + step)));
      if (at + step >= 5 && at + step < 305) assert.equal(held.held, 300, `${at} ${step}`);
      assert.equal(meter.isWhole, at + step >= 305);
    }
    assert.equal(held.held, 7, 'the second message has taken the place of the first');
    meter.end();
    assert.equal(held.held, 0);
  }
});

test('a compressed message counts as what it may become', () => {
  const held = new BytesInFlight(4 * MAX);
  const meter = new MessageMeter(held, MAX);
  assert.ok(meter.read(message(Buffer.alloc(100), true)));
  assert.equal(held.held, 100 + 100 * MAX_INFLATION);
  meter.end();
  const large = new MessageMeter(held, MAX);
  assert.ok(large.read(message(Buffer.alloc(5000), true)));
  assert.equal(held.held, 5000 + MAX, 'inflation stops at the largest message');
});

test('no gzip inflates to more than that', () => {
  const zeros = Buffer.alloc(20_000_000);
  assert.ok(zeros.length / gzipSync(zeros, { level: 9 }).length <= MAX_INFLATION);
});

test('what has no room is not counted, and leaves others theirs', () => {
  const held = new BytesInFlight(1000);
  const first = new MessageMeter(held, MAX);
  assert.ok(first.read(message(Buffer.alloc(800)).subarray(0, 5)));
  const second = new MessageMeter(held, MAX);
  assert.equal(second.read(message(Buffer.alloc(300)).subarray(0, 5)), false);
  second.end();
  assert.equal(held.held, 800);
  first.end();
  assert.equal(held.held, 0);
});

test('once it is inflated, a compressed message counts as what it has become', () => {
  const held = new BytesInFlight(4 * MAX);
  const meter = new MessageMeter(held, MAX);
  assert.ok(meter.read(message(Buffer.alloc(100), true)));
  meter.inflated(250);
  assert.equal(held.held, 350);
  meter.inflated(MAX);
  assert.equal(held.held, 350, 'never more than there was room for');
  meter.end();
  meter.inflated(0);
  assert.equal(held.held, 0);
});

test('budgets follow the memory of the control group, and the largest message always fits', () => {
  const mib = 2 ** 20;
  const of = (memory: number, largest: number): number[] => {
    const { requests, bodies, untaken } = budgetsOf(largest * mib, {
      ...limits(),
      memoryBytes: memory * mib,
    });
    return [requests, bodies, untaken].map((bytes) => bytes / mib);
  };
  assert.deepEqual(of(16_384, 16), [64, 64, 64]);
  assert.deepEqual(of(256, 16), [32, 32, 32]);
  assert.deepEqual(of(64, 16), [16, 16, 8]);
  assert.deepEqual(of(16_384, 64), [256, 64, 64]);
  assert.deepEqual(of(256, 64), [64, 64, 32]);
});
