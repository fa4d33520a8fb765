import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { context, propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { OutgoingTls } from '../../../calls/outgoing-tls.ts';
import { reset, startFakeServer } from '../testing/fake-server.ts';
import { parseAddresses } from './node.ts';
import { Transport } from './transport.ts';

describe('the spans of a call', () => {
  const exporter = new InMemorySpanExporter();
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
  before(() => {
    trace.setGlobalTracerProvider(provider);
    propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  });
  after(async () => {
    trace.disable();
    propagation.disable();
    context.disable();
    await provider.shutdown();
  });

  it('are one for each attempt, and the server is told of each', async (t) => {
    const server = await startFakeServer(t, (_, number) => (number === 1 ? reset : { result: 'fine' }));
    const transport = new Transport({
      addresses: parseAddresses(server.url),
      apiKey: () => 'secret',
      tls: new OutgoingTls({}),
      connections: 1,
      timeoutMs: 1000,
      hedgeMs: undefined,
    });
    t.after(() => transport.close());
    await transport.call({ operation: 'query', method: 'POST', path: '/x', body: '{}', collection: 'docs' });

    const spans = exporter.getFinishedSpans();
    assert.deepEqual(
      spans.map(({ name, kind, status }) => [name, kind, status.code]),
      [
        ['query docs', SpanKind.CLIENT, SpanStatusCode.ERROR],
        ['query docs', SpanKind.CLIENT, SpanStatusCode.UNSET],
      ],
    );
    const { port } = new URL(server.url);
    assert.deepEqual(spans[1]?.attributes, {
      'db.system.name': 'qdrant',
      'db.operation.name': 'query',
      'db.collection.name': 'docs',
      'server.address': '127.0.0.1',
      'server.port': Number(port),
      'scalingnote.attempt': 2,
      'db.response.status_code': '200',
    });
    assert.equal(spans[0]?.attributes['error.type'], 'STORE_UNAVAILABLE');
    for (const [index, span] of spans.entries()) {
      const { traceId, spanId } = span.spanContext();
      assert.equal(server.seen[index]?.headers['traceparent'], `00-${traceId}-${spanId}-01`);
    }
  });
});
