import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
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
import type { ReceivedSpan } from '../services/console/traces/otlp.ts';
import type { ServiceReport } from '../services/runtime/run-service.ts';
import { formatTraceparent, newSpanId, newTraceId } from '../services/runtime/telemetry/context.ts';
import { writeTinyTower } from '../towers/testing/tiny-tower.ts';
import { Receiver } from './otlp-receiver.ts';

const receiver = new Receiver();
const folder = mkdtempSync(join(tmpdir(), 'scalingnote-traces-'));
const children: ChildProcess[] = [];
const provider = { shutdown: (): Promise<void> => Promise.resolve() };
let documents: DocumentClient;
let queries: QueryClient;
let queryAddress = '';

before(async () => {
  const endpoints = await receiver.listen();
  const tower = join(folder, 'tower');
  writeTinyTower(tower);
  const [document, query] = await Promise.all([
    // One over HTTP and one over gRPC: the receiver is any that speaks OTLP.
    start('document', tower, { OTEL_EXPORTER_OTLP_ENDPOINT: endpoints.http }),
    start('query', tower, {
      OTEL_EXPORTER_OTLP_ENDPOINT: endpoints.grpc,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
    }),
  ]);
  const sdk = new BasicTracerProvider({
    resource: resourceFromAttributes({ 'service.name': 'the-client' }),
    spanProcessors: [new SimpleSpanProcessor(new OTLPTraceExporter({ url: `${endpoints.http}/v1/traces` }))],
  });
  provider.shutdown = () => sdk.shutdown();
  trace.setGlobalTracerProvider(sdk);
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  queryAddress = query;
  documents = new DocumentClient({ address: document });
  queries = new QueryClient({ address: query });
});

after(async () => {
  documents.close();
  queries.close();
  await Promise.all(
    children.map(async (child) => {
      child.kill('SIGTERM');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    }),
  );
  await provider.shutdown();
  trace.disable();
  propagation.disable();
  receiver.close();
  rmSync(folder, { recursive: true, force: true });
});

async function start(service: string, tower: string, env: NodeJS.ProcessEnv): Promise<string> {
  const flags = {
    port: '0',
    'metrics-port': '0',
    data: join(folder, 'data'),
    [`${service}-tower`]: `file:${tower}`,
  };
  const child = fork(
    new URL(`../services/${service}/main.js`, import.meta.url),
    Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value]),
    {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      env: {
        ...process.env,
        SCALINGNOTE_LOG_LEVEL: 'warn',
        OTEL_BSP_SCHEDULE_DELAY: '20',
        OTEL_METRIC_EXPORT_INTERVAL: '200',
        ...env,
      },
    },
  );
  children.push(child);
  const [report] = (await once(child, 'message')) as [ServiceReport];
  assert.ok(report.type === 'ready', JSON.stringify(report));
  return report.address;
}

/** Each span under the name of its parent; those of one process as they began. */
function tree(spans: readonly ReceivedSpan[]): string[] {
  const names = new Map(spans.map(({ spanId, name }) => [spanId, name]));
  const order = (span: ReceivedSpan): number => (span.service === 'the-client' ? 0 : span.startMs);
  return [...spans]
    .sort((a, b) => order(a) - order(b))
    .map(({ parentSpanId, name }) => `${names.get(parentSpanId ?? '') ?? ''} > ${name}`);
}

function one(spans: readonly ReceivedSpan[], name: string, kind?: string): ReceivedSpan {
  const found = spans.filter((span) => span.name === name && (kind === undefined || span.kind === kind));
  assert.equal(found.length, 1, `one span ${name}, of ${spans.map((span) => span.name).join(', ')}`);
  return found[0]!;
}

const SEARCH = 'scalingnote.v1.QueryService/Search';
const INGEST = 'scalingnote.v1.DocumentService/Ingest';

describe('an ingest', () => {
  const producer = { traceId: newTraceId(), spanId: newSpanId(), sampled: true };
  let spans: ReceivedSpan[];

  before(async () => {
    await documents.ingest(
      [
        { id: 'a', text: 'hello world' },
        { id: 'b', text: 'hello stars', traceparent: formatTraceparent(producer) },
        { id: 'c', text: '' },
      ],
      { collection: 'docs' },
    );
    const isStream = ({ name, kind }: ReceivedSpan): boolean => name === INGEST && kind === 'server';
    while (!receiver.spans.some(isStream)) await new Promise((resolve) => setTimeout(resolve, 10));
    const { traceId } = receiver.spans.find(isStream)!;
    spans = await receiver.trace(traceId, INGEST, INGEST, 'upsert', 'visible');
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
    const own = await receiver.trace(producer.traceId, 'document', 'tokenize', 'encode', 'upsert', 'visible');
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
    const own = await receiver.trace(producer.traceId, 'encode');
    const encode = one(own, 'encode');
    const server = one(spans, INGEST, 'server');
    assert.equal(encode.links.length, 1);
    const [batch] = await receiver.trace(encode.links[0]!.traceId, 'encode batch');
    assert.equal(batch!.parentSpanId, null);
    assert.equal(batch!.spanId, encode.links[0]!.spanId);
    for (const name of ['size', 'tokens', 'padding_ratio']) {
      assert.equal(typeof batch!.attributes[`scalingnote.batch.${name}`], 'number');
    }
    const linked = receiver.spans
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
  let spans: ReceivedSpan[];
  const caller = { traceId: newTraceId(), spanId: newSpanId(), sampled: true };

  before(async () => {
    // The first looks up where the collection is; the second is as they all are.
    await queries.search({ collection: 'docs', query: 'world' });
    const result = await queries.search(
      { collection: 'docs', query: 'hello stars' },
      { traceparent: formatTraceparent(caller) },
    );
    assert.equal(result.hits[0]?.id, 'b');
    spans = await receiver.trace(caller.traceId, SEARCH, SEARCH, 'group');
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
    const text = JSON.stringify(spans);
    assert.ok(!text.includes('hello'), 'no text of a query or a document');
  });

  test('is linked with the run of the model that it was in', async () => {
    const encode = one(spans, 'encode');
    assert.equal(encode.links.length, 1);
    const { traceId, spanId } = encode.links[0]!;
    const batch = one(await receiver.trace(traceId, 'encode batch'), 'encode batch');
    assert.equal(batch.spanId, spanId);
    assert.deepEqual(
      batch.links.map((link) => [link.traceId, link.spanId]),
      [[encode.traceId, encode.spanId]],
    );
  });

  test('that comes from the cache says so', async () => {
    const again = { ...caller, traceId: newTraceId() };
    await queries.search(
      { collection: 'docs', query: 'hello stars' },
      { traceparent: formatTraceparent(again) },
    );
    const cached = await receiver.trace(again.traceId, SEARCH, SEARCH, 'group');
    assert.equal(one(cached, 'encode').attributes['scalingnote.encode.cached'], true);
    assert.ok(!cached.some(({ name }) => name === 'tokenize'));
  });

  test('that fails says why', async () => {
    const failing = { ...caller, traceId: newTraceId() };
    await assert.rejects(
      queries.search({ collection: 'nowhere', query: 'x' }, { traceparent: formatTraceparent(failing) }),
    );
    const failed = await receiver.trace(failing.traceId, SEARCH, SEARCH);
    const server = one(failed, SEARCH, 'server');
    assert.equal(server.attributes['rpc.response.status_code'], 'NOT_FOUND');
    assert.equal(server.attributes['scalingnote.reason'], 'COLLECTION_NOT_FOUND');
    assert.equal(one(failed, SEARCH, 'client').status, 'error');
  });

  test('each query of a stream is a trace of its own where it brings one', async () => {
    const stream = queries.searchStream();
    const mine = { ...caller, traceId: newTraceId() };
    await stream.search(
      { collection: 'docs', query: 'hello world' },
      { traceparent: formatTraceparent(mine) },
    );
    const query = await receiver.trace(mine.traceId, 'SearchStream query', 'group');
    assert.equal(one(query, 'SearchStream query').parentSpanId, caller.spanId);
    assert.equal(one(query, 'store').parentSpanId, one(query, 'SearchStream query').spanId);
    stream.close();
  });
});

test('a client that has nothing of ours: its trace goes on', async () => {
  const client = new v1.QueryService(queryAddress, credentials.createInsecure());
  const caller = { traceId: newTraceId(), spanId: newSpanId(), sampled: true };
  const metadata = new Metadata();
  metadata.set('traceparent', formatTraceparent(caller));
  await new Promise<void>((resolve, reject) => {
    client.search({ collection: 'docs', query: 'world star' }, metadata, (error) =>
      error ? reject(error) : resolve(),
    );
  });
  const spans = await receiver.trace(caller.traceId, SEARCH, 'encode', 'store');
  assert.equal(one(spans, SEARCH).parentSpanId, caller.spanId);
  client.close();
});

test('what the caller does not want to have recorded is not', async () => {
  const unwanted = { traceId: newTraceId(), spanId: newSpanId(), sampled: false };
  const wanted = { traceId: newTraceId(), spanId: newSpanId(), sampled: true };
  const ask = (caller: typeof wanted): Promise<unknown> =>
    queries.search({ collection: 'docs', query: 'star' }, { traceparent: formatTraceparent(caller) });
  await ask(unwanted);
  await ask(wanted);
  await receiver.trace(wanted.traceId, SEARCH, SEARCH);
  assert.ok(
    !receiver.spans.some(({ traceId, service }) => traceId === unwanted.traceId && service !== 'the-client'),
  );
});

test('spans and metrics came over HTTP and over gRPC', async () => {
  assert.deepEqual([...receiver.ways.get('scalingnote-document')!], ['http']);
  assert.deepEqual([...receiver.ways.get('scalingnote-query')!], ['grpc']);
  while (receiver.metrics.size < 2) await new Promise((resolve) => setTimeout(resolve, 20));
});
