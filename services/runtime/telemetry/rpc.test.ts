import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Metadata, status } from '@grpc/grpc-js';
import { SpanStatusCode } from '@opentelemetry/api';
import { pino } from 'pino';
import { cancelled, deadlineExceeded, invalidArgument } from '../errors.ts';
import { callUnary, recordingLog, serve } from '../testing/harness.ts';
import { Metrics } from './metrics.ts';
import { RpcWatch } from './rpc.ts';
import type { Sampler } from './sampler.ts';
import type { RecordedSpan } from './recorded-span.ts';
import { Tracer } from './tracer.ts';

const PATH = '/scalingnote.v1.QueryService/Search';
const NEVER: Sampler = () => ({ sampled: false });
const ALWAYS: Sampler = () => ({ sampled: true });

function watching({ sampler = ALWAYS, slowMs = 1000, isStream = false } = {}) {
  const out: RecordedSpan[] = [];
  const lines: Record<string, unknown>[] = [];
  const write = (line: string): void => {
    lines.push(JSON.parse(line) as Record<string, unknown>);
  };
  const tracer = new Tracer({ push: (spans) => void out.push(...spans) }, sampler);
  const log = pino({ level: 'debug' }, { write });
  return { watch: new RpcWatch(PATH, isStream, { tracer, metrics: undefined, slowMs, log }), out, lines };
}

describe('a call', () => {
  test('has the attributes of the semantic conventions, and a line in the log of debugging', () => {
    const { watch, out, lines } = watching();
    watch.end(watch.begin({ metadata: new Metadata() }), undefined);
    const [span] = out;
    assert.equal(span?.name, PATH.slice(1));
    assert.deepEqual(span?.attributes, {
      'rpc.system.name': 'grpc',
      'rpc.method': PATH.slice(1),
      'rpc.response.status_code': 'OK',
    });
    const [line] = lines;
    assert.deepEqual(
      [line?.['trace_id'], line?.['span_id'], line?.['status']],
      [span?.traceId, span?.id, 'OK'],
    );
  });

  test('that failed by a fault of the server is an error; by one of the caller it is not, and is kept all the same', () => {
    const { watch, out } = watching({ sampler: NEVER });
    watch.end(watch.begin({ metadata: new Metadata() }), deadlineExceeded());
    watch.end(watch.begin({ metadata: new Metadata() }), invalidArgument('query', 'is empty'));
    watch.end(watch.begin({ metadata: new Metadata() }), cancelled());
    assert.deepEqual(
      out.map(({ attributes, status }) => [attributes?.['rpc.response.status_code'], status.code]),
      [
        ['DEADLINE_EXCEEDED', SpanStatusCode.ERROR],
        ['INVALID_ARGUMENT', SpanStatusCode.UNSET],
      ],
    );
    assert.equal(out[1]?.attributes?.['scalingnote.reason'], 'INVALID_ARGUMENT');
  });

  test('that was slow is kept, but a stream may last as long as it likes', () => {
    const slow = watching({ sampler: NEVER, slowMs: 0 });
    slow.watch.end(slow.watch.begin({ metadata: new Metadata() }), undefined);
    assert.equal(slow.out.length, 1);
    const stream = watching({ sampler: NEVER, slowMs: 0, isStream: true });
    stream.watch.end(stream.watch.begin({ metadata: new Metadata() }), undefined);
    assert.equal(stream.out.length, 0);
  });
});

test('calls in progress are counted from the first moment, until they end in whatever way', () => {
  const metrics = new Metrics();
  const watch = new RpcWatch(PATH, false, {
    tracer: undefined,
    metrics,
    slowMs: 1000,
    log: pino({ level: 'silent' }),
  });
  const active = metrics.activeCalls({ 'rpc.method': PATH.slice(1) });
  assert.equal(active.value, 0);
  const first = watch.begin({ metadata: new Metadata() });
  const second = watch.begin({ metadata: new Metadata() });
  assert.equal(active.value, 2);
  watch.end(first, undefined);
  watch.end(second, cancelled());
  assert.equal(active.value, 0);
});

test('a caller’s tracestate goes on as it came', () => {
  const { watch, out } = watching();
  const metadata = new Metadata();
  metadata.set('traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01');
  metadata.set('tracestate', 'congo=t61rcWkgMzE,rojo=00f067aa0ba902b7');
  const seen = watch.begin({ metadata });
  seen.span?.record('stage', 0, 1);
  watch.end(seen, undefined);
  for (const span of out) {
    assert.equal(span.spanContext().traceState?.serialize(), 'congo=t61rcWkgMzE,rojo=00f067aa0ba902b7');
  }
  assert.equal(out.length, 2);
});

test('what breaks in a call is in the log with the ids of its trace', async (context) => {
  const { log, lines } = recordingLog();
  const { watch } = watching();
  const harness = await serve(
    { Search: () => Promise.reject(new TypeError('nobody foresaw this')) },
    { log, telemetry: { watch: () => watch } },
  );
  context.after(() => harness.stop());
  const metadata = new Metadata();
  metadata.set('traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01');
  await assert.rejects(
    callUnary(harness.client, 'Search', {}, {}, metadata),
    ({ code }: { code: number }) => code === status.INTERNAL,
  );
  const line = lines.find(({ trace_id: id }) => id === '0af7651916cd43dd8448eb211c80319c');
  assert.match(String(line?.['span_id']), /^[0-9a-f]{16}$/);
});
