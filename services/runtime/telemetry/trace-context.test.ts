import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { isSampled } from './span.ts';
import {
  formatTraceparent,
  newSpanId,
  newTraceContext,
  newTraceId,
  parseTraceparent,
} from './trace-context.ts';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const SPAN = 'b7ad6b7169203331';

describe('traceparent', () => {
  test('what is written is read again', () => {
    const hex = (digits: number) =>
      fc
        .array(fc.constantFrom(...'0123456789abcdef'), { minLength: digits, maxLength: digits })
        .map((each) => each.join(''))
        .filter((text) => /[1-9a-f]/.test(text));
    fc.assert(
      fc.property(hex(32), hex(16), fc.constantFrom(0, 1), (traceId, spanId, traceFlags) => {
        const parent = { traceId, spanId, traceFlags, isRemote: true };
        assert.deepEqual(parseTraceparent(formatTraceparent(parent)), parent);
      }),
    );
  });

  test('the sampled flag is one bit of eight', () => {
    assert.equal(isSampled(parseTraceparent(`00-${TRACE}-${SPAN}-03`)!), true);
    assert.equal(isSampled(parseTraceparent(`00-${TRACE}-${SPAN}-02`)!), false);
  });

  test('a later version may have more fields', () => {
    assert.equal(parseTraceparent(`01-${TRACE}-${SPAN}-01-what-comes`)?.traceId, TRACE);
  });

  test('what the recommendation forbids is no context', () => {
    for (const text of [
      '',
      `00-${TRACE}-${SPAN}`,
      `00-${TRACE}-${SPAN}-01-more`,
      `ff-${TRACE}-${SPAN}-01`,
      `00-${'0'.repeat(32)}-${SPAN}-01`,
      `00-${TRACE}-${'0'.repeat(16)}-01`,
      `00-${TRACE.toUpperCase()}-${SPAN}-01`,
      `00-${TRACE.slice(1)}-${SPAN}-01`,
    ]) {
      assert.equal(parseTraceparent(text), undefined, text);
    }
  });
});

test('ids are of the right length and differ', () => {
  const traces = new Set(Array.from({ length: 2000 }, newTraceId));
  const spans = new Set(Array.from({ length: 2000 }, newSpanId));
  assert.deepEqual([traces.size, spans.size], [2000, 2000]);
  for (const id of traces) assert.match(id, /^[0-9a-f]{32}$/);
  for (const id of spans) assert.match(id, /^[0-9a-f]{16}$/);
  const { traceparent, traceId, spanId } = newTraceContext();
  assert.deepEqual(parseTraceparent(traceparent), { traceId, spanId, traceFlags: 1, isRemote: true });
});
