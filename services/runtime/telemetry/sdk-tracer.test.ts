import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { Metadata } from '@grpc/grpc-js';
import {
  context,
  metrics,
  propagation,
  SpanKind,
  SpanStatusCode,
  type TextMapPropagator,
  trace,
} from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { NodeSDK, type NodeSDKConfiguration } from '@opentelemetry/sdk-node';
import {
  AlwaysOffSampler,
  BatchSpanProcessor,
  InMemorySpanExporter,
  type ReadableSpan,
} from '@opentelemetry/sdk-trace-base';
import { recordingLog } from '../testing/harness.ts';
import type { Span } from './span.ts';
import { startTelemetry, type Telemetry } from './telemetry.ts';
import { parseTraceparent } from './trace-context.ts';

const SETTINGS = {
  name: 'scalingnote-test',
  version: '1.2.3',
  consoleAddress: '127.0.0.1:9',
  metricsHost: '127.0.0.1',
  metricsPort: 0,
  metricsPortSetting: '--metrics-port',
  slowMs: 500,
};
const TRACEPARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

let spans: InMemorySpanExporter;
let telemetry: Telemetry;
let lines: Record<string, unknown>[];

beforeEach(() => {
  spans = new InMemorySpanExporter();
});

afterEach(async () => {
  await telemetry.close();
  for (const api of [trace, metrics, context, propagation]) api.disable();
});

/** An SDK that exports only when it is flushed, and a service that starts after it. */
async function start(sdk: Partial<NodeSDKConfiguration> = {}, env: NodeJS.ProcessEnv = {}): Promise<void> {
  const processor = new BatchSpanProcessor(spans, { scheduledDelayMillis: 60_000 });
  new NodeSDK({ autoDetectResources: false, spanProcessors: [processor], metricReaders: [], ...sdk }).start();
  const recording = recordingLog();
  lines = recording.lines;
  telemetry = (await startTelemetry(SETTINGS, env, recording.log))!;
}

/** What the SDK has exported when the service has ended. */
async function exported(): Promise<ReadableSpan[]> {
  await telemetry.close();
  return spans.getFinishedSpans();
}

function begin(traceparent?: string): Span {
  const metadata = new Metadata();
  if (traceparent !== undefined) metadata.set('traceparent', traceparent);
  return telemetry.tracer!.incoming('call', { metadata }, performance.now(), { a: 1 });
}

describe('an SDK that is registered before the service starts', () => {
  test('gets the spans, all of them when the service ends; our own exporter sends nothing', async () => {
    let requests = 0;
    const receiver = createServer((request, response) => {
      requests++;
      request.resume();
      response.writeHead(200).end();
    });
    await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
    const { port } = receiver.address() as AddressInfo;
    const endpoint = {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
      OTEL_TRACES_SAMPLER: 'the_vendors_own',
    };
    await start({}, { ...endpoint, OTEL_METRICS_EXPORTER: 'none' });
    const call = begin(TRACEPARENT);
    call.record('stage', 1, 2.5, { b: 2 });
    call.child('store', { kind: SpanKind.CLIENT }).fail('BROKEN', 'it broke').end();
    call.end();
    assert.equal(spans.getFinishedSpans().length, 0);
    const [stage, store, server] = await exported();
    assert.deepEqual([stage!.name, store!.name, server!.name], ['stage', 'store', 'call']);
    assert.deepEqual([stage!.duration, stage!.attributes], [[0, 1_500_000], { b: 2 }]);
    assert.deepEqual(store!.status, { code: SpanStatusCode.ERROR, message: 'it broke' });
    assert.equal(store!.parentSpanContext?.spanId, server!.spanContext().spanId);
    assert.equal(server!.parentSpanContext?.spanId, 'b7ad6b7169203331');
    assert.deepEqual(server!.instrumentationScope.name, 'scalingnote');
    assert.equal(requests, 0);
    receiver.close();
  });

  test('is named in the log, with what is off then', async () => {
    await start({ metricReaders: [] });
    const text = lines.map(({ msg }) => String(msg)).join('\n');
    assert.match(text, /SDK is registered and takes the spans;.* OTEL_\* .*is off/);
    assert.match(
      text,
      /the console gets no spans unless the SDK sends them to http:\/\/127\.0\.0\.1:9\/v1\/traces/,
    );
  });

  test('samples by its own rules: nothing of an unsampled request is exported, though it failed', async () => {
    await start({ sampler: new AlwaysOffSampler() });
    const call = begin(TRACEPARENT);
    const encode = call.child('encode');
    const batch = telemetry.tracer!.batch(newRun(), 'tower');
    batch.join(encode, {});
    encode.addBatch(batch).end();
    call.notable = true;
    call.fail('BROKEN').end();
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(await exported(), []);
  });

  test('has the span of a call active while the call is served, and over an await', async () => {
    await start();
    const handler = async (call: { span: Span }): Promise<string | undefined> => {
      assert.deepEqual(trace.getActiveSpan()?.spanContext().traceId, call.span.spanContext().traceId);
      await new Promise((resolve) => setImmediate(resolve));
      trace.getTracer('a library').startSpan('inside').end();
      return trace.getActiveSpan()?.spanContext().spanId;
    };
    const serve = telemetry.tracer!.activate(handler, ({ span }) => span);
    const span = begin();
    assert.equal(await serve({ span }), span.spanContext().spanId);
    assert.equal(trace.getActiveSpan(), undefined);
    span.end();
    const inside = (await exported()).find(({ name }) => name === 'inside');
    assert.equal(inside?.parentSpanContext?.spanId, span.spanContext().spanId);
  });

  test('propagates by its own propagator', async () => {
    const other: TextMapPropagator<Metadata> = {
      inject: () => {},
      fields: () => ['x-trace'],
      extract: (from, carrier, getter) => {
        const found = parseTraceparent(String(getter.get(carrier, 'x-trace')));
        return found ? trace.setSpanContext(from, found) : from;
      },
    };
    await start({ textMapPropagator: other });
    const metadata = new Metadata();
    metadata.set('x-trace', TRACEPARENT);
    telemetry.tracer!.incoming('call', { metadata }, performance.now(), {}).end();
    begin(TRACEPARENT).end();
    const parents = (await exported()).map(({ parentSpanContext }) => parentSpanContext?.spanId);
    assert.deepEqual(parents, ['b7ad6b7169203331', undefined]);
  });

  test('may have a span of the call already: ours begins below it', async () => {
    await start({ textMapPropagator: new W3CTraceContextPropagator() });
    const outer = trace.getTracer('instrumentation').startSpan('grpc');
    context.with(trace.setSpan(context.active(), outer), () => begin(TRACEPARENT).end());
    const [call] = await exported();
    assert.equal(call!.parentSpanContext?.spanId, outer.spanContext().spanId);
  });

  test('links parts of other traces and runs of the model, both ways', async () => {
    await start();
    const stream = begin();
    const document = stream.part('document', { parent: parseTraceparent(TRACEPARENT)! });
    const write = stream.part('upsert');
    const encode = document.child('encode');
    const batch = telemetry.tracer!.batch(newRun(), 'tower');
    batch.join(encode, { 'scalingnote.document.id': 'a' });
    encode.addBatch(batch).end();
    for (const span of [write, document, stream]) span.end();
    await new Promise((resolve) => setImmediate(resolve));
    const found = new Map((await exported()).map((span) => [span.name, span]));
    const idOf = (name: string): string | undefined => found.get(name)?.spanContext().spanId;
    const linksOf = (name: string): string[] => found.get(name)!.links.map(({ context: to }) => to.spanId);
    assert.equal(found.get('document')!.parentSpanContext?.spanId, 'b7ad6b7169203331');
    assert.deepEqual(linksOf('document'), [idOf('call')]);
    assert.equal(found.get('upsert')!.parentSpanContext?.spanId, idOf('call'));
    assert.deepEqual(linksOf('encode'), [idOf('encode batch')]);
    assert.deepEqual(linksOf('encode batch'), [idOf('encode')]);
    assert.equal(found.get('encode batch')!.parentSpanContext, undefined);
    assert.deepEqual(found.get('encode batch')!.links[0]!.attributes, { 'scalingnote.document.id': 'a' });
  });
});

describe('half an SDK', () => {
  test('without a meter: spans are the SDK’s, metrics go as OTEL_* says', async () => {
    await start({}, { OTEL_METRICS_EXPORTER: 'none' });
    assert.equal(telemetry.metricsAddress, undefined);
    begin().end();
    assert.equal((await exported()).length, 1);
  });

  test('with a meter: it has every instrument, and our endpoint goes on, whatever OTEL_* says', async () => {
    const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
    const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 60_000 });
    await start({ metricReaders: [reader] }, { OTEL_METRICS_EXPORTER: 'none' });
    assert.match(String(lines[0]?.['msg']), /takes the spans and metrics/);
    telemetry.metrics!.callDuration({ 'rpc.method': 'a/b' }).record(0.02);
    telemetry.metrics!.documents({ 'scalingnote.document.outcome': 'indexed' }).add(3);
    telemetry.metrics!.observe('scalingnote.queue.depth', '{request}', 'Waiting', () => 5, { queue: 'a' });
    telemetry.metrics!.observe('scalingnote.queue.depth', '{request}', 'Waiting', () => 6, { queue: 'b' });
    const page = await (await fetch(`http://${telemetry.metricsAddress}/metrics`)).text();
    assert.ok(page.includes('rpc_server_call_duration_seconds_count{rpc_method="a/b"} 1'));
    await telemetry.close();
    const found = exporter
      .getMetrics()
      .at(-1)!
      .scopeMetrics.flatMap((scope) => scope.metrics);
    const values = (name: string): unknown[] =>
      found
        .find(({ descriptor }) => descriptor.name === name)!
        .dataPoints.map(({ attributes, value }) => [attributes, value]);
    const [duration] = values('rpc.server.call.duration') as [[object, { count: number; sum: number }]];
    assert.deepEqual([duration[1].count, duration[1].sum], [1, 0.02]);
    assert.deepEqual(values('scalingnote.documents'), [[{ 'scalingnote.document.outcome': 'indexed' }, 3]]);
    assert.deepEqual(values('scalingnote.queue.depth'), [
      [{ queue: 'a' }, 5],
      [{ queue: 'b' }, 6],
    ]);
  });
});

function newRun() {
  return { startedAt: 1, encodeMs: 2, size: 2, tokens: 9, paddingRatio: 0.25 };
}
