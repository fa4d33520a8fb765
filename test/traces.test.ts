import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { credentials, Metadata } from '@grpc/grpc-js';
import { propagation, trace } from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BasicTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { DocumentClient, QueryClient } from '../clients/index.ts';
import { v1 } from '../proto/load.ts';
import { formatTraceparent, newSpanId, newTraceId } from '../services/runtime/telemetry/trace-context.ts';
import { startProcess, stopServices } from '../services/runtime/testing/processes.ts';
import type { OtlpSpan } from '../services/runtime/telemetry/testing/otlp.ts';
import { writeTinyTower } from '../towers/testing/tiny-tower.ts';
import { Receiver } from './otlp-receiver.ts';

const SEARCH = 'scalingnote.v1.QueryService/Search';
const INGEST = 'scalingnote.v1.DocumentService/Ingest';

/** What the client's own SDK exports goes to the receiver of the suite that runs. */
let exporter: OTLPTraceExporter;
const client = new BasicTracerProvider({
  resource: resourceFromAttributes({ 'service.name': 'the-client' }),
  spanProcessors: [
    new SimpleSpanProcessor({
      export: (spans, done) => exporter.export(spans, done),
      shutdown: () => exporter.shutdown(),
    }),
  ],
});
trace.setGlobalTracerProvider(client);
propagation.setGlobalPropagator(new W3CTraceContextPropagator());

/** The services as processes with one of the tracers, and clients of them. */
class System {
  readonly receiver = new Receiver();
  readonly folder = mkdtempSync(join(tmpdir(), 'scalingnote-traces-'));
  readonly #nodeFlags: readonly string[];
  documents!: DocumentClient;
  queries!: QueryClient;
  queryAddress = '';

  constructor(nodeFlags: readonly string[]) {
    this.#nodeFlags = nodeFlags;
  }

  async start(): Promise<void> {
    const endpoints = await this.receiver.listen();
    exporter = new OTLPTraceExporter({ url: `${endpoints.http}/v1/traces` });
    writeTinyTower(join(this.folder, 'tower'));
    const [document, query] = await Promise.all([
      // One over HTTP and one over gRPC: the receiver is any that speaks OTLP.
      this.#startService('document', { OTEL_EXPORTER_OTLP_ENDPOINT: endpoints.http }),
      this.#startService('query', {
        OTEL_EXPORTER_OTLP_ENDPOINT: endpoints.grpc,
        OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
      }),
    ]);
    this.queryAddress = query;
    this.documents = new DocumentClient({ address: document });
    this.queries = new QueryClient({ address: query });
  }

  async stop(): Promise<void> {
    this.documents.close();
    this.queries.close();
    await stopServices();
    this.receiver.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #startService(service: string, env: NodeJS.ProcessEnv): Promise<string> {
    const flags = {
      port: '0',
      'metrics-port': '0',
      data: join(this.folder, 'data'),
      [`${service}-tower`]: `file:${join(this.folder, 'tower')}`,
    };
    const { address } = await startProcess(
      new URL(`../services/${service}/main.js`, import.meta.url),
      Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value]),
      {
        OTEL_SERVICE_NAME: `scalingnote-${service}`,
        OTEL_METRICS_EXPORTER: 'otlp',
        OTEL_BSP_SCHEDULE_DELAY: '20',
        OTEL_METRIC_EXPORT_INTERVAL: '200',
        OTEL_METRIC_EXPORT_TIMEOUT: '200',
        ...env,
      },
      this.#nodeFlags,
    );
    return address;
  }
}

after(async () => {
  await client.shutdown();
  trace.disable();
  propagation.disable();
});

const TRACERS = [
  { tracer: 'our own tracer', nodeFlags: [] },
  {
    tracer: 'OpenTelemetry’s SDK',
    nodeFlags: ['--import', new URL('otel-register.js', import.meta.url).href],
  },
] as const;

/** Each span under the name of its parent; those of one process as they began. */
function tree(spans: readonly OtlpSpan[]): string[] {
  const names = new Map(spans.map(({ spanId, name }) => [spanId, name]));
  const order = (span: OtlpSpan): bigint => (span.service === 'the-client' ? 0n : span.start);
  return [...spans]
    .sort((a, b) => (order(a) < order(b) ? -1 : 1))
    .map(({ parentSpanId, name }) => `${names.get(parentSpanId ?? '') ?? ''} > ${name}`);
}

function one(spans: readonly OtlpSpan[], name: string, kind?: string): OtlpSpan {
  const found = spans.filter((span) => span.name === name && (kind === undefined || span.kind === kind));
  assert.equal(found.length, 1, `one span ${name}, of ${spans.map((span) => span.name).join(', ')}`);
  return found[0]!;
}

/** What each tracer exported, for the comparison of the two. */
const exported = new Map<string, Receiver>();

for (const { tracer, nodeFlags } of TRACERS) {
  describe(tracer, () => {
    const system = new System(nodeFlags);
    before(() => system.start());
    after(async () => {
      await system.stop();
      exported.set(tracer, system.receiver);
    });

    describe('an ingest', () => {
      const producer = { traceId: newTraceId(), spanId: newSpanId(), traceFlags: 1 };
      let spans: OtlpSpan[];

      before(async () => {
        await system.documents.ingest(
          [
            { id: 'a', text: 'hello world' },
            { id: 'b', text: 'hello stars', traceparent: formatTraceparent(producer) },
            { id: 'c', text: '' },
          ],
          { collection: 'docs' },
        );
        const isStream = ({ name, kind }: OtlpSpan): boolean => name === INGEST && kind === 'server';
        while (!system.receiver.spans.some(isStream)) await new Promise((resolve) => setTimeout(resolve, 10));
        const { traceId } = system.receiver.spans.find(isStream)!;
        spans = await system.receiver.trace(traceId, INGEST, INGEST, 'upsert', 'visible');
      });

      test('is one trace from the client through the service: stream, writes, watermarks', () => {
        const client = one(spans, INGEST, 'client');
        const server = one(spans, INGEST, 'server');
        assert.equal(client.service, 'the-client');
        assert.equal(server.service, 'scalingnote-document');
        assert.equal(server.parentSpanId, client.spanId);
        for (const span of spans.filter(({ name }) => name === 'upsert' || name === 'visible')) {
          assert.equal(span.parentSpanId, server.spanId);
        }
        assert.equal(server.attributes['rpc.system.name'], 'grpc');
        assert.equal(server.attributes['rpc.method'], INGEST);
        assert.equal(server.attributes['rpc.response.status_code'], 'OK');
        assert.equal(server.attributes['scalingnote.collection'], 'docs');
        const upsert = spans.find(({ name }) => name === 'upsert')!;
        assert.equal(upsert.kind, 'client');
        assert.equal(upsert.attributes['db.operation.name'], 'upsert');
        assert.equal(upsert.attributes['db.system.name'], 'embedded');
        assert.match(String(upsert.attributes['db.collection.name']), /^docs--sp1_/);
      });

      test('has an event for each document, with its outcome', () => {
        const events = one(spans, INGEST, 'server').events.map(({ name, attributes }) => [
          name,
          attributes['scalingnote.document.id'],
          attributes['scalingnote.document.outcome'],
          attributes['scalingnote.reason'],
        ]);
        assert.deepEqual(events.sort(), [
          ['document', 'a', 'indexed', undefined],
          ['document', 'b', 'indexed', undefined],
          ['document', 'c', 'rejected', 'INVALID_ARGUMENT'],
        ]);
      });

      test('a document that brought a trace is in it until it can be found', async () => {
        const own = await system.receiver.trace(
          producer.traceId,
          'document',
          'tokenize',
          'encode',
          'upsert',
          'visible',
        );
        assert.deepEqual(tree(own), [
          ' > document',
          'document > tokenize',
          'document > encode',
          'document > upsert',
          'document > visible',
        ]);
        const document = one(own, 'document');
        const server = one(spans, INGEST, 'server');
        assert.equal(document.parentSpanId, producer.spanId);
        assert.equal(document.kind, 'consumer');
        assert.equal(document.attributes['scalingnote.document.id'], 'b');
        assert.equal(document.attributes['scalingnote.document.outcome'], 'indexed');
        assert.deepEqual(
          document.links.map(({ traceId, spanId }) => [traceId, spanId]),
          [[server.traceId, server.spanId]],
        );
        const writes = spans.filter(({ name }) => name === 'upsert').map(({ spanId }) => spanId);
        assert.ok(writes.includes(one(own, 'upsert').links[0]!.spanId));
      });

      test('runs of the model are linked with their documents, and back', async () => {
        const own = await system.receiver.trace(producer.traceId, 'encode');
        const encode = one(own, 'encode');
        const server = one(spans, INGEST, 'server');
        assert.equal(encode.links.length, 1);
        const [batch] = await system.receiver.trace(encode.links[0]!.traceId, 'encode batch');
        assert.equal(batch!.parentSpanId, null);
        assert.equal(batch!.spanId, encode.links[0]!.spanId);
        for (const name of ['size', 'tokens', 'padding_ratio']) {
          assert.equal(typeof batch!.attributes[`scalingnote.batch.${name}`], 'number');
        }
        const linked = system.receiver.spans
          .filter(({ name, service }) => name === 'encode batch' && service === 'scalingnote-document')
          .flatMap(({ links }) => links)
          .map(({ spanId, attributes }) => [spanId, attributes['scalingnote.document.id']]);
        assert.deepEqual(
          linked.sort(),
          [
            [encode.spanId, 'b'],
            [server.spanId, 'a'],
          ].sort(),
        );
        const fromWrites = spans.filter(({ name }) => name === 'upsert').flatMap(({ links }) => links);
        assert.ok(fromWrites.some(({ spanId }) => spanId === batch!.spanId));
      });
    });

    describe('a search', () => {
      let spans: OtlpSpan[];
      const caller = { traceId: newTraceId(), spanId: newSpanId(), traceFlags: 1 };

      before(async () => {
        // The first looks up where the collection is; the second is as they all are.
        await system.queries.search({ collection: 'docs', query: 'world' });
        const result = await system.queries.search(
          { collection: 'docs', query: 'hello stars' },
          { traceparent: formatTraceparent(caller) },
        );
        assert.equal(result.hits[0]?.id, 'b');
        spans = await system.receiver.trace(caller.traceId, SEARCH, SEARCH, 'group');
      });

      test('is one trace: client, server, and each stage', () => {
        assert.deepEqual(tree(spans), [
          ` > ${SEARCH}`,
          `${SEARCH} > ${SEARCH}`,
          ...['queue', 'tokenize', 'encode', 'store', 'group'].map((stage) => `${SEARCH} > ${stage}`),
        ]);
        const client = one(spans, SEARCH, 'client');
        const server = one(spans, SEARCH, 'server');
        assert.equal(client.parentSpanId, caller.spanId);
        assert.equal(server.parentSpanId, client.spanId);
        assert.deepEqual([client.service, server.service], ['the-client', 'scalingnote-query']);
        for (const name of ['queue', 'tokenize', 'encode', 'store', 'group']) {
          assert.equal(one(spans, name).parentSpanId, server.spanId);
        }
      });

      test('has the attributes of the semantic conventions', () => {
        const client = one(spans, SEARCH, 'client');
        const server = one(spans, SEARCH, 'server');
        for (const span of [client, server]) {
          assert.equal(span.attributes['rpc.system.name'], 'grpc');
          assert.equal(span.attributes['rpc.method'], SEARCH);
          assert.equal(span.attributes['rpc.response.status_code'], 'OK');
        }
        assert.equal(client.attributes['server.address'], '127.0.0.1');
        assert.equal(typeof client.attributes['server.port'], 'number');
        const encode = one(spans, 'encode');
        assert.equal(encode.attributes['gen_ai.operation.name'], 'embeddings');
        assert.equal(typeof encode.attributes['gen_ai.request.model'], 'string');
        assert.ok(Number(encode.attributes['gen_ai.usage.input_tokens']) > 2);
        assert.equal(encode.attributes['scalingnote.encode.cached'], false);
        const store = one(spans, 'store');
        assert.equal(store.attributes['db.system.name'], 'embedded');
        assert.equal(store.attributes['db.operation.name'], 'search');
        assert.match(String(store.attributes['db.collection.name']), /^docs--sp1_/);
        assert.equal(one(spans, 'group').attributes['scalingnote.hits'], 2);
        const text = JSON.stringify(
          spans.map(({ name, attributes, events }) => [
            name,
            attributes,
            events.map(({ attributes }) => attributes),
          ]),
        );
        assert.ok(!text.includes('hello'), 'no text of a query or a document');
      });

      test('is linked with the run of the model that it was in', async () => {
        const encode = one(spans, 'encode');
        assert.equal(encode.links.length, 1);
        const { traceId, spanId } = encode.links[0]!;
        const batch = one(await system.receiver.trace(traceId, 'encode batch'), 'encode batch');
        assert.equal(batch.spanId, spanId);
        assert.deepEqual(
          batch.links.map((link) => [link.traceId, link.spanId]),
          [[encode.traceId, encode.spanId]],
        );
      });

      test('that comes from the cache says so', async () => {
        const again = { ...caller, traceId: newTraceId() };
        await system.queries.search(
          { collection: 'docs', query: 'hello stars' },
          { traceparent: formatTraceparent(again) },
        );
        const cached = await system.receiver.trace(again.traceId, SEARCH, SEARCH, 'group');
        assert.equal(one(cached, 'encode').attributes['scalingnote.encode.cached'], true);
        assert.ok(!cached.some(({ name }) => name === 'tokenize'));
      });

      test('that fails says why', async () => {
        const failing = { ...caller, traceId: newTraceId() };
        await assert.rejects(
          system.queries.search(
            { collection: 'nowhere', query: 'x' },
            { traceparent: formatTraceparent(failing) },
          ),
        );
        const failed = await system.receiver.trace(failing.traceId, SEARCH, SEARCH);
        const server = one(failed, SEARCH, 'server');
        assert.equal(server.attributes['rpc.response.status_code'], 'NOT_FOUND');
        assert.equal(server.attributes['scalingnote.reason'], 'COLLECTION_NOT_FOUND');
        assert.equal(one(failed, SEARCH, 'client').status, 'error');
      });

      test('each query of a stream is a trace of its own where it brings one', async () => {
        const stream = system.queries.searchStream();
        const mine = { ...caller, traceId: newTraceId() };
        await stream.search(
          { collection: 'docs', query: 'hello world' },
          { traceparent: formatTraceparent(mine) },
        );
        const query = await system.receiver.trace(mine.traceId, 'SearchStream query', 'group');
        assert.equal(one(query, 'SearchStream query').parentSpanId, caller.spanId);
        assert.equal(one(query, 'store').parentSpanId, one(query, 'SearchStream query').spanId);
        stream.close();
      });
    });

    test('a client that has nothing of ours: its trace goes on', async () => {
      const bare = new v1.QueryService(system.queryAddress, credentials.createInsecure());
      const caller = { traceId: newTraceId(), spanId: newSpanId(), traceFlags: 1 };
      const metadata = new Metadata();
      metadata.set('traceparent', formatTraceparent(caller));
      await new Promise<void>((resolve, reject) => {
        bare.search({ collection: 'docs', query: 'world star' }, metadata, (error) =>
          error ? reject(error) : resolve(),
        );
      });
      const spans = await system.receiver.trace(caller.traceId, SEARCH, 'encode', 'store');
      assert.equal(one(spans, SEARCH).parentSpanId, caller.spanId);
      bare.close();
    });

    test('what the caller does not want to have recorded is not', async () => {
      const unwanted = { traceId: newTraceId(), spanId: newSpanId(), traceFlags: 0 };
      const wanted = { traceId: newTraceId(), spanId: newSpanId(), traceFlags: 1 };
      const ask = (caller: typeof wanted): Promise<unknown> =>
        system.queries.search(
          { collection: 'docs', query: 'star' },
          { traceparent: formatTraceparent(caller) },
        );
      await ask(unwanted);
      await ask(wanted);
      await system.receiver.trace(wanted.traceId, SEARCH, SEARCH);
      assert.ok(
        !system.receiver.spans.some(
          ({ traceId, service }) => traceId === unwanted.traceId && service !== 'the-client',
        ),
      );
    });

    test('spans came over HTTP and over gRPC', () => {
      assert.deepEqual([...system.receiver.ways.get('scalingnote-document')!], ['http']);
      assert.deepEqual([...system.receiver.ways.get('scalingnote-query')!], ['grpc']);
    });
  });
}

/**
 * What is the same of a span in each run, in a line, and a line for each of its links. Ids, times and numbers are not the
 * same, nor is how many documents share a run of the model.
 */
function summary(span: OtlpSpan, all: readonly OtlpSpan[]): string[] {
  const nameOf = (id: string | null): string =>
    id === null ? '' : (all.find(({ spanId }) => spanId === id)?.name ?? 'elsewhere');
  const stable = (attributes: Record<string, unknown>): string[] =>
    Object.entries(attributes)
      .map(([key, value]) => {
        const varies = typeof value === 'number' || key === 'db.collection.name';
        return `${key}=${varies ? typeof value : JSON.stringify(value)}`;
      })
      .sort();
  const { service, name, kind, scope, status, statusMessage, attributes, events, links } = span;
  const line = {
    span: `${service}: ${nameOf(span.parentSpanId)} > ${name}, ${kind}`,
    scope,
    status: `${status} ${statusMessage}`,
    attributes: stable(attributes),
    events: events.map((event) => [event.name, ...stable(event.attributes)]).sort(),
  };
  const linked = links.map((link) => [
    service,
    name,
    'links to',
    nameOf(link.spanId),
    ...stable(link.attributes),
  ]);
  return [JSON.stringify(line), ...linked.map((parts) => parts.join(' '))];
}

describe('both tracers export the same', () => {
  const [own, sdk] = TRACERS.map(({ tracer }) => tracer);

  test('spans: tree, names, kinds, attributes, events, links, statuses', () => {
    const [ours, theirs] = [own, sdk].map((tracer) => {
      const { spans } = exported.get(tracer!)!;
      return [...new Set(spans.flatMap((span) => summary(span, spans)))].sort();
    });
    assert.deepEqual(theirs, ours);
    assert.ok(ours!.length > 20);
  });

  test('metrics: names, units, descriptions, kinds, bounds, attributes', () => {
    const [ours, theirs] = [own, sdk].map((tracer) =>
      [...exported.get(tracer!)!.metrics.values()]
        // One comes when memory is collected; one counts what our own exporter drops.
        .filter(({ name }) => name !== 'v8js.gc.duration' && name !== 'scalingnote.telemetry.dropped')
        .flatMap(({ points, ...metric }) => {
          // Ours shows what has not happened yet as zero; the SDK has no way to do so.
          const happened = points.filter(
            ({ count, value }) =>
              metric.kind === 'gauge' ||
              (metric.kind === 'sum' && !metric.isMonotonic) ||
              count > 0 ||
              value > 0,
          );
          if (happened.length === 0) return [];
          const series = happened.map(({ attributes }) => JSON.stringify(attributes)).sort();
          return [JSON.stringify({ ...metric, series, bounds: points[0]?.bounds })];
        })
        .sort(),
    );
    assert.deepEqual(theirs, ours);
    assert.ok(ours!.some((metric) => metric.includes('rpc.server.call.duration')));
  });
});
