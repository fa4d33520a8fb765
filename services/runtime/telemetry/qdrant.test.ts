import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type SpanContext, SpanKind } from '@opentelemetry/api';
import { SPACE, TENANT } from '../../../store/contract/stores.ts';
import { LAYOUT } from '../../../store/qdrant/layout.ts';
import { openStore } from '../../../store/open.ts';
import { type Answer, startFakeServer } from '../../../store/qdrant/testing/fake-server.ts';
import { physicalName } from '../../../store/store.ts';
import { connectLibraries } from './library-spans.ts';
import { formatTraceparent } from './trace-context.ts';
import { samplerOf } from './sampler.ts';
import type { RecordedSpan } from './recorded-span.ts';
import { traceOf } from './span.ts';
import { Tracer } from './tracer.ts';

const IDENTITY = `col_${'0'.repeat(32)}`;

/** Our collection, with nothing in it. */
const EMPTY: Readonly<Record<string, Answer>> = {
  GET: {
    result: {
      config: {
        params: { vectors: { dense: { size: SPACE.dimensions } } },
        optimizer_config: {},
        metadata: { product: 'scalingnote', space: SPACE.fingerprint, layout: LAYOUT, identity: IDENTITY },
      },
      payload_schema: {},
    },
  },
  POST: { result: { points: [] } },
};

test('requests to Qdrant carry the context of the search, and are parts of its span', async (context) => {
  const server = await startFakeServer(context, ({ method }) => EMPTY[method]!);
  const store = await openStore({ kind: 'qdrant', url: server.url });
  context.after(() => store.close());
  const physical = physicalName('docs', SPACE.fingerprint);

  connectLibraries();
  const out: RecordedSpan[] = [];
  const tracer = new Tracer({ push: (spans) => void out.push(...spans) }, samplerOf());
  const ask = async (parent?: SpanContext): Promise<RecordedSpan> => {
    const call = tracer.server('Search', parent, performance.now(), {});
    const span = call.child('store');
    server.seen.length = 0;
    const query = { tenant: TENANT, vector: Float32Array.of(1, 0, 0, 0), limit: 1 };
    await store.search(physical, query, traceOf(span));
    span.end();
    call.end();
    return span;
  };

  const span = await ask();
  const requests = out.filter(({ parent }) => parent === span);
  assert.ok(requests.length > 0);
  for (const { kind, attributes } of requests) {
    assert.equal(kind, SpanKind.CLIENT);
    assert.equal(attributes?.['db.system.name'], 'qdrant');
    assert.equal(typeof attributes?.['db.operation.name'], 'string');
    assert.ok(attributes?.['db.collection.name']);
  }
  assert.deepEqual(
    server.seen.map(({ headers }) => headers['traceparent']),
    requests.map(({ traceId, id: spanId }) => formatTraceparent({ traceId, spanId, traceFlags: 1 })),
  );

  // An unsampled search is exported by nobody, so Qdrant is not told of its trace.
  out.length = 0;
  await ask({ traceId: span.traceId, spanId: span.id, traceFlags: 0 });
  assert.deepEqual(out, []);
  assert.ok(server.seen.every(({ headers }) => headers['traceparent'] === undefined));
});
