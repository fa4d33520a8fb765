import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { chunksOf } from './chunks-of.ts';
import { completed } from './complete.ts';
import { overlap, standings } from './difference.ts';
import { bytes, count, duration, plural, rate } from './format.ts';
import { ticks, waterfall } from './waterfall.ts';
import type { TraceSpan } from '../../../clients/console-traces.ts';

function span(spanId: string, parentSpanId: string | null, startMs: number, durationMs = 1): TraceSpan {
  return {
    spanId,
    parentSpanId,
    startMs,
    durationMs,
    name: spanId,
    kind: 'internal',
    service: 's',
    attributes: {},
    events: [],
    links: [],
    status: 'unset',
  };
}

test('a stream in chunks: all bytes in order, each chunk full but the last, and no more is read than is asked for', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.uint8Array({ maxLength: 20 })),
      fc.integer({ min: 1, max: 9 }),
      async (parts, size) => {
        const source = new ReadableStream<Uint8Array>({
          start: (controller) => {
            for (const part of parts) controller.enqueue(part);
            controller.close();
          },
        });
        const chunks: Uint8Array[] = [];
        for await (const chunk of chunksOf(source, size)) chunks.push(chunk);
        assert.deepEqual(Buffer.concat(chunks), Buffer.concat(parts));
        assert.ok(chunks.slice(0, -1).every(({ length }) => length === size));
        assert.ok(chunks.every(({ length }) => length > 0));
      },
    ),
  );
  let read = 0;
  let cancelled = false;
  const endless = new ReadableStream<Uint8Array>(
    {
      pull: (controller) => {
        read++;
        controller.enqueue(new Uint8Array(4));
      },
      cancel: () => {
        cancelled = true;
      },
    },
    { highWaterMark: 0 },
  );
  for await (const chunk of chunksOf(endless, 8)) {
    assert.equal(chunk.length, 8);
    break;
  }
  assert.deepEqual([read, cancelled], [2, true]);
});

describe('waterfall', () => {
  const shape = (spans: TraceSpan[]): string[] =>
    waterfall(spans).rows.map(({ span: { spanId }, depth }) => `${'.'.repeat(depth)}${spanId}`);

  test('children stand below their parents by their start, whatever the order they came in', () => {
    const spans = [span('c', 'a', 2), span('d', 'c', 3), span('a', null, 0, 9), span('b', 'a', 1)];
    assert.deepEqual(shape(spans), ['a', '.b', '.c', '..d']);
    const { startMs, endMs } = waterfall(spans);
    assert.deepEqual([startMs, endMs], [0, 9]);
  });

  test('a span whose parent is elsewhere is a root, and a ring is shown all the same', () => {
    assert.deepEqual(shape([span('a', 'caller', 0), span('b', 'a', 1)]), ['a', '.b']);
    assert.deepEqual(shape([span('a', 'b', 0), span('b', 'a', 1)]), ['a', '.b']);
  });

  test('every span is there once', () => {
    const id = fc.integer({ min: 0, max: 12 }).map(String);
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.tuple(id, fc.option(id), fc.nat(9)), { selector: ([each]) => each }),
        (all) => {
          const spans = all.map(([spanId, parent, start]) => span(spanId, parent, start));
          assert.deepEqual(
            waterfall(spans)
              .rows.map((row) => row.span.spanId)
              .sort(),
            all.map(([spanId]) => spanId).sort(),
          );
        },
      ),
    );
  });

  test('marks are round, few, and within', () => {
    assert.deepEqual(ticks(0, 10), [0, 2, 4, 6, 8]);
    fc.assert(
      fc.property(fc.double({ min: 1e-3, max: 1e6, noNaN: true }), (length) => {
        const marks = ticks(5, 5 + length);
        assert.ok(marks.length >= 2 && marks.length <= 6, `${marks.length} marks for ${length}`);
        assert.ok(marks.every((mark) => mark >= 5 && mark <= 5 + length));
      }),
    );
    assert.deepEqual(ticks(3, 3), [3]);
  });
});

test('hits of two lists: who is only here, who stands higher', () => {
  assert.deepEqual(standings(['a', 'x', 'b'], ['b', 'a', 'c']), [
    { kind: 'both', up: 1 },
    { kind: 'only-here' },
    { kind: 'both', up: -2 },
  ]);
  assert.equal(overlap(['a', 'x', 'b'], ['b', 'a', 'c', 'd']), 0.5);
  assert.equal(overlap([], []), 1);
});

test('an unfinished word is completed where it stands', () => {
  for (const [query, word, whole] of [
    ['astron', 'astronomer', 'astronomer'],
    ['The ÄSTR', 'astronomer', 'The astronomer'],
    ['red,fo', 'fox', 'red,fox'],
    ['with node.j', 'node.js', 'with node.js'],
    ['die Straßes', 'strassensperre', 'die strassensperre'],
    ['', 'fox', 'fox'],
  ] as const) {
    assert.equal(completed(query, word), whole);
  }
});

test('numbers as people read them', () => {
  assert.deepEqual([0, 0.004, 0.5, 9.99, 45.67, 999.4, 999.6, 12_340, 59_960, 7_200_000].map(duration), [
    '0.00 ms',
    '0.00 ms',
    '0.50 ms',
    '10.0 ms',
    '45.7 ms',
    '999 ms',
    '1.0 s',
    '12.3 s',
    '1 min',
    '2.0 h',
  ]);
  assert.deepEqual([0, 999, 1000, 1_234_567].map(count), ['0', '999', '1\u202F000', '1\u202F234\u202F567']);
  assert.deepEqual([0, 1023, 1536, 12 * 1024 * 1024].map(bytes), ['0 B', '1023 B', '1.5 KiB', '12 MiB']);
  assert.deepEqual([rate(0, 5), rate(2, 5), rate(5000, 4)], ['0/s', '0.4/s', '1\u202F250/s']);
  assert.deepEqual([plural(1, 'hit'), plural(0, 'hit')], ['1 hit', '0 hits']);
});
