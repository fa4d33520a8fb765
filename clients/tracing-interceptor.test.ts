import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import type { Metadata } from '@grpc/grpc-js';
import { propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { DocumentClient, QueryClient } from './index.ts';
import { failure, serve, type FakeService } from './testing/fake-service.ts';

const TRACEPARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

let service: FakeService;
let documents: DocumentClient;
let queries: QueryClient;
/** What calls carried, in order. */
const carried: string[] = [];

function note(metadata: Metadata): void {
  carried.push(metadata.get('traceparent').join());
}

before(async () => {
  service = await serve({
    Search: (call, callback) => {
      note(call.metadata);
      if (call.request.query === 'fail') callback(failure({ code: 5, message: 'no', reason: 'NO' }));
      else callback(null, { hits: [] });
    },
    SearchStream: (call) => {
      note(call.metadata);
      call.on('data', ({ sequence }: { sequence: string }) => call.write({ sequence, result: {} }));
      call.on('end', () => call.end());
    },
    Ingest: (call) => {
      note(call.metadata);
      call.on('data', (request: { begin?: unknown; sequence: string }) => {
        if (request.begin) call.write({ ready: {} });
        else call.write({ watermark: { sequence: request.sequence } });
      });
      call.on('end', () => call.end());
    },
  });
});

after(() => service.close());

describe('without OpenTelemetry in the program', () => {
  before(() => connect());
  after(() => disconnect());

  test('a call carries the trace that it is given, and no other', async () => {
    carried.length = 0;
    await queries.search({ collection: 'c', query: 'x' }, { traceparent: TRACEPARENT });
    await queries.search({ collection: 'c', query: 'x' });
    await documents.ingest([{ id: 'a', text: 'a' }], { collection: 'c', traceparent: TRACEPARENT });
    assert.deepEqual(carried, [TRACEPARENT, '', TRACEPARENT]);
  });
});

describe('with OpenTelemetry', () => {
  const exporter = new InMemorySpanExporter();
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });

  before(() => {
    trace.setGlobalTracerProvider(provider);
    propagation.setGlobalPropagator(new W3CTraceContextPropagator());
    connect();
  });
  after(async () => {
    disconnect();
    trace.disable();
    propagation.disable();
    await provider.shutdown();
  });
  afterEach(() => exporter.reset());

  test('each shape of call is a client span, and its context goes with it', async () => {
    carried.length = 0;
    await queries.search({ collection: 'c', query: 'x' });
    await documents.ingest([{ id: 'a', text: 'a' }], { collection: 'c' });
    const stream = queries.searchStream();
    await stream.search({ collection: 'c', query: 'x' });
    stream.close();
    while (exporter.getFinishedSpans().length < 3) await new Promise((resolve) => setImmediate(resolve));
    const spans = exporter.getFinishedSpans();
    assert.deepEqual(
      spans.map(({ name, kind }) => [name, kind]),
      ['QueryService/Search', 'DocumentService/Ingest', 'QueryService/SearchStream'].map((name) => [
        `scalingnote.v1.${name}`,
        SpanKind.CLIENT,
      ]),
    );
    for (const [index, span] of spans.entries()) {
      const { attributes } = span;
      const { traceId, spanId } = span.spanContext();
      assert.equal(carried[index], `00-${traceId}-${spanId}-01`);
      assert.equal(attributes['rpc.system.name'], 'grpc');
      assert.equal(attributes['rpc.response.status_code'], 'OK');
      assert.equal(attributes['server.address'], '127.0.0.1');
    }
  });

  test('a span is under the trace that the call is given', async () => {
    await queries.search({ collection: 'c', query: 'x' }, { traceparent: TRACEPARENT });
    const [span] = exporter.getFinishedSpans();
    assert.equal(span?.spanContext().traceId, TRACEPARENT.split('-')[1]);
    assert.equal(span?.parentSpanContext?.spanId, TRACEPARENT.split('-')[2]);
  });

  test('what failed has the status that it failed with', async () => {
    await assert.rejects(queries.search({ collection: 'c', query: 'fail' }));
    const [span] = exporter.getFinishedSpans();
    assert.equal(span?.status.code, SpanStatusCode.ERROR);
    assert.equal(span?.attributes['rpc.response.status_code'], 'NOT_FOUND');
    assert.equal(span?.attributes['error.type'], 'NOT_FOUND');
  });
});

function connect(): void {
  documents = new DocumentClient({ address: service.address });
  queries = new QueryClient({ address: service.address });
}

function disconnect(): void {
  documents.close();
  queries.close();
}
