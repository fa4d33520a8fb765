import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ReceivedSpan } from './otlp.ts';
import { MAX_SPANS_PER_TRACE, TraceStore } from './store.ts';

const START = Date.parse('2026-01-02T03:04:05.000Z');

function traceOf(number: number): string {
  return number.toString(16).padStart(32, '0');
}

function spanOf(number: number): string {
  return number.toString(16).padStart(16, '0');
}

function span(trace: number, number: number, changes: Partial<ReceivedSpan> = {}): ReceivedSpan {
  return {
    traceId: traceOf(trace),
    spanId: spanOf(number),
    parentSpanId: null,
    name: `span ${number}`,
    kind: 'internal',
    service: 'a',
    startMs: START + trace * 1000,
    endMs: START + trace * 1000 + 1,
    attributes: {},
    events: [],
    links: [],
    status: 'unset',
    statusMessage: '',
    ...changes,
  };
}

function storeOf(limits: { maxTraces?: number; maxBytes?: number } = {}): TraceStore {
  return new TraceStore({ maxTraces: 100, maxBytes: 10_000_000, ...limits });
}

const ALL = { order: 'latest', limit: 100 } as const;

describe('lists of traces', () => {
  const store = storeOf();
  store.add([
    span(1, 1, { endMs: START + 1000 + 30, name: 'slow' }),
    span(2, 2, { name: 'failed', status: 'error', service: 'b' }),
    span(3, 3, { name: 'refused', attributes: { 'rpc.response.status_code': 'NOT_FOUND' } }),
    span(4, 4, { name: 'given up', attributes: { 'rpc.response.status_code': 'CANCELLED' } }),
  ]);
  const names = (query: Partial<Parameters<TraceStore['list']>[0]>): string[] =>
    store.list({ ...ALL, ...query }).map(({ name }) => name);

  test('latest, slowest, failed', () => {
    assert.deepEqual(names({}), ['given up', 'refused', 'failed', 'slow']);
    assert.equal(names({ order: 'slowest' })[0], 'slow');
    assert.deepEqual(names({ order: 'failed' }), ['refused', 'failed']);
  });

  test('by service, by name, so many', () => {
    assert.deepEqual(names({ service: 'b' }), ['failed']);
    assert.deepEqual(names({ name: 'low' }), ['slow']);
    assert.deepEqual(names({ limit: 2 }), ['given up', 'refused']);
  });

  test('a trace is named after its root, or what comes first of it, and lasts until its last span ends', () => {
    const store = storeOf();
    store.add([
      span(1, 2, { parentSpanId: spanOf(1), startMs: START, endMs: START + 5, name: 'child' }),
      span(1, 3, { parentSpanId: spanOf(1), startMs: START + 1, endMs: START + 9, name: 'later child' }),
    ]);
    assert.equal(store.list(ALL)[0]?.name, 'child');
    store.add([span(1, 1, { startMs: START + 2, endMs: START + 4, name: 'root', service: 'b' })]);
    assert.deepEqual(store.list(ALL), [
      {
        traceId: traceOf(1),
        name: 'root',
        service: 'b',
        startTime: '2026-01-02T03:04:05.000Z',
        durationMs: 9,
        spans: 3,
        status: 'ok',
      },
    ]);
  });
});

describe('one trace', () => {
  test('parents before children, whatever order they came in, times from its start', () => {
    const store = storeOf();
    store.add([
      span(1, 4, { parentSpanId: spanOf(3), startMs: START + 3, endMs: START + 4 }),
      span(1, 2, { parentSpanId: spanOf(1), startMs: START + 1, endMs: START + 2 }),
      // A clock that is behind: it seems to begin before its parent.
      span(1, 3, { parentSpanId: spanOf(1), startMs: START + 2.5, endMs: START + 5 }),
      span(1, 1, {
        startMs: START,
        endMs: START + 6,
        events: [{ name: 'e', timeMs: START + 1, attributes: {} }],
      }),
    ]);
    const trace = store.get(traceOf(1));
    assert.deepEqual(
      trace?.spans.map(({ spanId, startMs, durationMs }) => [spanId, startMs, durationMs]),
      [
        [spanOf(1), 0, 6],
        [spanOf(2), 1, 1],
        [spanOf(3), 2.5, 2.5],
        [spanOf(4), 3, 1],
      ],
    );
    assert.equal(trace?.spans[0]?.events[0]?.timeMs, 1);
  });

  test('spans that are each other’s parents are there as well', () => {
    const store = storeOf();
    store.add([span(1, 1, { parentSpanId: spanOf(2) }), span(1, 2, { parentSpanId: spanOf(1) })]);
    assert.equal(store.get(traceOf(1))?.spans.length, 2);
  });

  test('a span that comes twice is there once', () => {
    const store = storeOf();
    store.add([span(1, 1), span(1, 1)]);
    assert.equal(store.get(traceOf(1))?.spans.length, 1);
  });

  test('what links to a span is found from it', () => {
    const store = storeOf({ maxTraces: 2 });
    const links = [{ traceId: traceOf(1), spanId: spanOf(1), attributes: {} }];
    store.add([span(1, 1), span(2, 2, { links })]);
    assert.deepEqual(
      store.linkedTo(traceOf(1), spanOf(1)).map(({ traceId }) => traceId),
      [traceOf(2)],
    );
    store.add([span(3, 3), span(4, 4)]);
    assert.deepEqual(store.linkedTo(traceOf(1), spanOf(1)), []);
  });
});

describe('bounds', () => {
  test('the trace that was quiet for longest makes room', () => {
    const store = storeOf({ maxTraces: 3 });
    store.add([span(1, 1), span(2, 2), span(3, 3)]);
    store.add([span(1, 11)]);
    store.add([span(4, 4)]);
    assert.deepEqual(
      [1, 2, 3, 4].map((trace) => store.get(traceOf(trace)) !== undefined),
      [true, false, true, true],
    );
    assert.deepEqual([store.stats().traces, store.stats().spans], [3, 4]);
  });

  test('memory is bounded by what spans hold, too', () => {
    const store = storeOf({ maxBytes: 100_000 });
    for (let trace = 1; trace <= 100; trace++) {
      store.add([span(trace, trace, { attributes: { text: 'x'.repeat(1024) } })]);
    }
    const { traces, bytes } = store.stats();
    assert.ok(bytes <= 100_000 && traces > 20 && traces < 50, `${traces} traces, ${bytes} bytes`);
  });

  test('one trace takes so many spans and counts the rest', () => {
    const store = storeOf();
    store.add(Array.from({ length: MAX_SPANS_PER_TRACE + 5 }, (_, index) => span(1, index + 1)));
    assert.equal(store.get(traceOf(1))?.spans.length, MAX_SPANS_PER_TRACE);
    assert.equal(store.stats().dropped, 5);
  });
});
