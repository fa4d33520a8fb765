import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTraceState, SpanKind } from '@opentelemetry/api';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer';
import protobuf from 'protobufjs';
import { SpanRequest } from './otlp-spans.ts';
import type { Span } from './span.ts';
import { toHrTime } from './clock.ts';
import { Tracer } from './tracer.ts';

const RESOURCE = { 'service.name': 'scalingnote-test', 'process.pid': 7 };
const SCOPE = { name: 'scalingnote', version: '1.2.3' };

/** All of OTLP's span: from `opentelemetry/proto/trace/v1/trace.proto`. */
const Request = protobuf
  .parse(`
  syntax = "proto3";
  message Request { repeated ResourceSpans resource_spans = 1; }
  message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2; }
  message Resource { repeated KeyValue attributes = 1; }
  message ScopeSpans { Scope scope = 1; repeated Span spans = 2; }
  message Scope { string name = 1; string version = 2; }
  message Span {
    bytes trace_id = 1; bytes span_id = 2; string trace_state = 3; bytes parent_span_id = 4; string name = 5;
    int32 kind = 6; fixed64 start_time_unix_nano = 7; fixed64 end_time_unix_nano = 8;
    repeated KeyValue attributes = 9; uint32 dropped_attributes_count = 10; repeated Event events = 11;
    uint32 dropped_events_count = 12; repeated Link links = 13; uint32 dropped_links_count = 14; Status status = 15;
    fixed32 flags = 16;
  }
  message Event { fixed64 time_unix_nano = 1; string name = 2; repeated KeyValue attributes = 3; }
  message Link {
    bytes trace_id = 1; bytes span_id = 2; string trace_state = 3; repeated KeyValue attributes = 4; fixed32 flags = 6;
  }
  message Status { string message = 2; int32 code = 3; }
  message KeyValue { string key = 1; AnyValue value = 2; }
  message AnyValue {
    oneof value { string string_value = 1; bool bool_value = 2; int64 int_value = 3; double double_value = 4;
      Values array_value = 5; }
  }
  message Values { repeated AnyValue values = 1; }
`)
  .root.lookupType('Request');

/** What a receiver reads; the order of spans, attributes and links means nothing. */
function read(bytes: Uint8Array): unknown {
  const request = Request.toObject(Request.decode(bytes), {
    longs: String,
    bytes: String,
    defaults: true,
  });
  const ordered = (_: string, value: unknown): unknown =>
    Array.isArray(value)
      ? value
          .map((each) => JSON.stringify(each))
          .sort()
          .map((each) => JSON.parse(each) as unknown)
      : value;
  return JSON.parse(JSON.stringify(request, ordered), (key, value: unknown) =>
    key === 'status' ? (value ?? { message: '', code: 0 }) : value,
  );
}

/** The same spans by OpenTelemetry's own exporter. */
function byOpenTelemetry(spans: readonly Span[]): Uint8Array {
  const resource = resourceFromAttributes(RESOURCE);
  const readable = spans.map((span) => {
    const { name, kind, status, attributes = {}, links = [], batches = [], events = [], recording } = span;
    const parentId = span.parent?.id ?? recording.parent?.spanId;
    const context = { ...span.spanContext(), traceFlags: 1 };
    return {
      name,
      kind,
      status,
      attributes,
      links: [...links, ...batches.map((batch) => ({ context: batch.span.spanContext() }))],
      events: events.map(({ time, ...event }) => ({ ...event, time: toHrTime(time) })),
      spanContext: () => context,
      ...(parentId !== undefined && {
        parentSpanContext: {
          traceId: span.traceId,
          spanId: parentId,
          traceFlags: 1,
          isRemote: span.parent === undefined,
        },
      }),
      startTime: toHrTime(span.startTime),
      endTime: toHrTime(span.endTime),
      duration: toHrTime(0),
      resource,
      instrumentationScope: SCOPE,
      ended: true,
      droppedAttributesCount: 0,
      droppedEventsCount: span.droppedEvents,
      droppedLinksCount: 0,
    };
  });
  return ProtobufTraceSerializer.serializeRequest(readable)!;
}

test('spans are sent as OpenTelemetry’s own exporter would send them', () => {
  const kept: Span[] = [];
  const tracer = new Tracer({ push: (spans) => void kept.push(...spans) }, () => ({ sampled: true }));
  const state = createTraceState('congo=t61rcWkgMzE');
  const parent = { traceId: 'ab'.repeat(16), spanId: 'cd'.repeat(8), sampled: true, state };
  const root = tracer.server('scalingnote.v1.QueryService/Search', parent, 1.5, {
    text: 'Wörter, 語',
    whole: 10,
    negative: -3,
    part: 0.25,
    huge: 1e300,
    yes: true,
    no: false,
    list: ['a', 'b'],
    numbers: [1, 2.5],
  });
  const child = root.child('store', { kind: SpanKind.CLIENT, attributes: {} });
  child.addEvent('retry', { attempt: 2 }, 12).addEvent('again');
  child.droppedEvents = 300;
  child.addLink({ context: root.spanContext(), attributes: { why: 'because' } });
  child.addLink({ context: { ...root.spanContext(), isRemote: true, traceFlags: 0 } });
  child.fail('STORE_UNAVAILABLE', 'the store is away').end();
  const run = { startedAt: 1, encodeMs: 2, size: 2, tokens: 9, paddingRatio: 0.25 };
  root.record('encode', 1, 2).addBatch(tracer.batch(run, 'tower'));
  root.end();
  tracer.server('no parent', undefined, 3, {}).end(4.000001);
  const request = new SpanRequest(RESOURCE, SCOPE);
  for (const span of kept) request.add(span);
  assert.equal(request.size, 4);
  assert.deepEqual(read(request.finish()), read(byOpenTelemetry(kept)));
});

test('a request of many spans grows', () => {
  const tracer = new Tracer({ push: () => {} }, () => ({ sampled: true }));
  const request = new SpanRequest(RESOURCE, SCOPE);
  for (let index = 0; index < 2000; index++) {
    const span = tracer.server('call', undefined, 1, { text: 'x'.repeat(200) });
    span.end();
    request.add(span);
  }
  const bytes = request.finish();
  assert.ok(bytes.length > 400_000);
  const { resourceSpans } = Request.toObject(Request.decode(bytes)) as {
    resourceSpans: { scopeSpans: { spans: unknown[] }[] }[];
  };
  assert.equal(resourceSpans[0]?.scopeSpans[0]?.spans.length, 2000);
});
