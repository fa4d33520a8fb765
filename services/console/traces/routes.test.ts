import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { SpanKind, SpanStatusCode, TraceFlags } from '@opentelemetry/api';
import { JsonTraceSerializer, ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer';
import { resourceFromAttributes } from '@opentelemetry/resources';
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base';
import { pino } from 'pino';
import { startHttpServer, type RunningHttpServer } from '../http/server.ts';
import { traceRoutes } from './routes.ts';
import { SPAN_LIMITS } from './otlp.ts';
import type { Trace } from '../../../clients/console-traces.ts';
import { TraceStore } from './store.ts';

const CONTEXT = {
  traceId: '0af7651916cd43dd8448eb211c80319c',
  spanId: 'b7ad6b7169203331',
  traceFlags: TraceFlags.SAMPLED,
};
const LINKED = { ...CONTEXT, traceId: '1af7651916cd43dd8448eb211c80319c' };
const SECONDS = 1_767_323_045;

/** A span as OpenTelemetry's own exporters take it. */
const sent: ReadableSpan = {
  name: 'encode',
  kind: SpanKind.CLIENT,
  spanContext: () => CONTEXT,
  parentSpanContext: { ...CONTEXT, spanId: '00f067aa0ba902b7' },
  startTime: [SECONDS, 250_000],
  endTime: [SECONDS, 1_500_000],
  duration: [0, 1_250_000],
  status: { code: SpanStatusCode.ERROR, message: 'broke' },
  attributes: { text: 'a', count: 3, share: 0.5, yes: true, list: ['a', 'b'], long: 'x'.repeat(5000) },
  links: [{ context: LINKED, attributes: { 'scalingnote.document.id': 'bee' } }],
  events: [{ name: 'document', time: [SECONDS, 500_000], attributes: { outcome: 'indexed' } }],
  ended: true,
  resource: resourceFromAttributes({ 'service.name': 'scalingnote-query' }),
  instrumentationScope: { name: 'test' },
  droppedAttributesCount: 0,
  droppedEventsCount: 0,
  droppedLinksCount: 0,
};

let http: RunningHttpServer;

beforeEach(async () => {
  http = await startHttpServer({
    host: '127.0.0.1',
    port: 0,
    names: [],
    portSetting: '--port',
    routes: [traceRoutes(new TraceStore({ maxTraces: 10, maxBytes: 1_000_000 }))],
    log: pino({ level: 'silent' }),
  });
});

afterEach(() => http.shutdown(0));

const get = (path: string): Promise<Response> => fetch(`http://${http.address}${path}`);
const post = (body: string | Uint8Array, headers: Record<string, string>): Promise<Response> =>
  fetch(`http://${http.address}/v1/traces`, { method: 'POST', body, headers });

const PROTOBUF = { 'content-type': 'application/x-protobuf' };
const JSON_TYPE = { 'content-type': 'application/json' };

describe('spans as OpenTelemetry’s own serializers write them', () => {
  const protobuf = Buffer.from(ProtobufTraceSerializer.serializeRequest([sent])!);
  const json = Buffer.from(JsonTraceSerializer.serializeRequest([sent])!);
  for (const [name, body, headers] of [
    ['protobuf', protobuf, PROTOBUF],
    ['protobuf, gzipped', gzipSync(protobuf), { ...PROTOBUF, 'content-encoding': 'gzip' }],
    ['JSON', json, JSON_TYPE],
  ] as const) {
    test(name, async () => {
      const answer = await post(body, headers);
      assert.equal(answer.status, 200, await answer.text());
      assert.equal(answer.headers.get('content-type'), headers['content-type']);
      const trace = (await (await get(`/api/traces/${CONTEXT.traceId}`)).json()) as Trace;
      assert.deepEqual(trace, {
        traceId: CONTEXT.traceId,
        startTime: new Date(SECONDS * 1000).toISOString(),
        spans: [
          {
            spanId: CONTEXT.spanId,
            parentSpanId: '00f067aa0ba902b7',
            name: 'encode',
            kind: 'client',
            service: 'scalingnote-query',
            startMs: 0,
            durationMs: 1.25,
            attributes: {
              ...sent.attributes,
              long: `${'x'.repeat(SPAN_LIMITS.characters - 1)}…`,
            },
            events: [{ name: 'document', timeMs: 0.25, attributes: { outcome: 'indexed' } }],
            links: [
              {
                traceId: LINKED.traceId,
                spanId: LINKED.spanId,
                attributes: { 'scalingnote.document.id': 'bee' },
              },
            ],
            status: 'error',
            statusMessage: 'broke',
          },
        ],
      });
    });
  }
});

describe('what is no request to export spans', () => {
  for (const [name, body, headers, status] of [
    ['bytes that are no protobuf', Buffer.from([255, 255, 255, 255]), PROTOBUF, 400],
    ['a text that is no JSON', '{', JSON_TYPE, 400],
    ['JSON of another kind', '{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":7}]}]}]}', JSON_TYPE, 400],
    ['a span without ids', '{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"x"}]}]}]}', JSON_TYPE, 400],
    ['bytes that are not gzipped', 'x', { ...PROTOBUF, 'content-encoding': 'gzip' }, 400],
    ['another packing', 'x', { ...PROTOBUF, 'content-encoding': 'br' }, 415],
    ['another type', 'x', { 'content-type': 'text/plain' }, 415],
  ] as const) {
    test(`${name}: ${status}, and one line of JSON that says why`, async () => {
      const answer = await post(body, headers);
      assert.equal(answer.status, status);
      const { error } = (await answer.json()) as { error: { reason: string; message: string } };
      assert.match(error.reason, /^[A-Z_]+$/);
      assert.ok(error.message.length > 10 && !error.message.includes('\n'));
    });
  }
});

describe('what is asked wrongly', () => {
  for (const [path, status] of [
    ['/api/traces/abc', 400],
    [`/api/traces/${'1'.repeat(32)}`, 404],
    ['/api/traces?order=best', 400],
    ['/api/traces?limit=0', 400],
    ['/api/nothing', 404],
  ] as const) {
    test(`${path}: ${status}`, async () => {
      const answer = await get(path);
      assert.equal(answer.status, status);
      assert.ok(((await answer.json()) as { error: { message: string } }).error.message);
    });
  }
});
