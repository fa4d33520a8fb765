import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ROOT_CONTEXT, type SpanContext, SpanStatusCode, trace } from '@opentelemetry/api';
import type { ModelRun } from './batch-span.ts';
import type { Sampler } from './sampler.ts';
import { samplerOf } from './sampler.ts';
import { MAX_EVENTS, type RecordedSpan } from './recorded-span.ts';
import { traceOf } from './span.ts';
import { Tracer, UNSAMPLED_BURST } from './tracer.ts';
import { connectLibraries } from './library-spans.ts';
import { formatTraceparent, newSpanId, newTraceId, parseTraceparent } from './trace-context.ts';

const NEVER: Sampler = () => ({ sampled: false });
const ALWAYS: Sampler = () => ({ sampled: true });
const newRun = (): ModelRun => ({ startedAt: 1, encodeMs: 2, size: 2, tokens: 9, paddingRatio: 0.25 });

/** A tracer and what it has let out. */
function tracing(sampler: Sampler): { tracer: Tracer; out: RecordedSpan[]; names: () => string[] } {
  const out: RecordedSpan[] = [];
  const push = (spans: readonly RecordedSpan[]): void => {
    for (const span of spans) {
      for (const batch of span.batches ?? []) batch.keep();
      out.push(span);
    }
  };
  return { tracer: new Tracer({ push }, sampler), out, names: () => out.map(({ name }) => name) };
}

const begin = (tracer: Tracer, parent?: SpanContext): RecordedSpan => tracer.server('call', parent, 0, {});
const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('what is kept', () => {
  test('of a sampled request all, when it ends', () => {
    const { tracer, names } = tracing(ALWAYS);
    const root = begin(tracer);
    root.record('stage', 1, 2);
    assert.deepEqual(names(), []);
    root.end();
    assert.deepEqual(names(), ['call', 'stage']);
  });

  test('of another nothing, unless it failed or was slow', () => {
    const { tracer, out, names } = tracing(NEVER);
    begin(tracer).end();
    assert.equal(out.length, 0);
    const failed = begin(tracer);
    failed.record('stage', 1, 2);
    failed.fail('BROKEN').end();
    assert.deepEqual(names(), ['call', 'stage']);
    const slow = begin(tracer);
    slow.notable = true;
    slow.end();
    assert.equal(out.length, 3);
  });

  test('a part that ends after its request', () => {
    const { tracer, names } = tracing(ALWAYS);
    const root = begin(tracer);
    const late = root.child('late');
    root.end();
    late.end();
    late.end();
    assert.deepEqual(names(), ['call', 'late']);
  });

  test('of thousands that fail at once only some', () => {
    const { tracer, out } = tracing(NEVER);
    for (let call = 0; call < 5 * UNSAMPLED_BURST; call++) begin(tracer).fail('OVERLOADED').end(1);
    assert.equal(out.length, UNSAMPLED_BURST);
    // A second later there is room again.
    begin(tracer).fail('OVERLOADED').end(1001);
    assert.equal(out.length, UNSAMPLED_BURST + 1);
  });

  test('of a stream each part by itself, and the stream with any of them', () => {
    const { tracer, out, names } = tracing(NEVER);
    const stream = begin(tracer);
    stream.part('good').end();
    assert.equal(out.length, 0);
    stream.part('bad').fail('BROKEN').end();
    assert.deepEqual(names(), ['bad']);
    stream.end();
    assert.deepEqual(names(), ['bad', 'call']);
    assert.equal(out[0]!.recording.parent?.spanId, stream.id);
  });

  test('a part in a trace of its own, whatever becomes of the stream', () => {
    const { tracer, out } = tracing(NEVER);
    const parent = { traceId: newTraceId(), spanId: newSpanId(), traceFlags: 1 };
    const stream = begin(tracer);
    stream.part('document', { parent }).end();
    assert.equal(out[0]?.traceId, parent.traceId);
    assert.equal(out[0]?.links?.[0]?.context.spanId, stream.id);
  });
});

describe('runs of a model', () => {
  test('are linked both ways, once everybody has joined', async () => {
    const { tracer, out } = tracing(ALWAYS);
    const members = [1, 2].map(() => begin(tracer).record('encode', 0, 1));
    const run = newRun();
    for (const member of members) {
      const batch = tracer.batch(run, 'tower');
      batch.join(member, {});
      member.addBatch(batch);
    }
    await nextTurn();
    const [batch] = out;
    assert.equal(out.length, 1);
    assert.deepEqual(
      batch?.links?.map(({ context }) => context.spanId),
      members.map(({ id }) => id),
    );
    assert.equal(batch?.attributes?.['scalingnote.batch.padding_ratio'], 0.25);
    assert.equal(members[0]!.batches?.[0]?.spanContext().spanId, batch?.id);
  });

  test('are kept with a request that turns out to be slow, and not with others', async () => {
    const { tracer, names } = tracing(NEVER);
    const root = begin(tracer);
    const encode = root.record('encode', 0, 1);
    const batch = tracer.batch(newRun(), 'tower');
    batch.join(encode, {});
    encode.addBatch(batch);
    await nextTurn();
    assert.deepEqual(names(), []);
    root.notable = true;
    root.end();
    await nextTurn();
    assert.deepEqual(names(), ['call', 'encode', 'encode batch']);
  });
});

describe('samplers', () => {
  const sampled = { traceId: newTraceId(), spanId: newSpanId(), traceFlags: 1 };
  const unsampled = { ...sampled, traceFlags: 0 };
  const decide = (name: string, argument?: string) => {
    const sampler = samplerOf(name, argument);
    return [undefined, sampled, unsampled].map((parent) => sampler(parent).sampled);
  };

  test('by name, as OpenTelemetry has them: without a parent, with a sampled one, with another', () => {
    assert.deepEqual(decide('always_on'), [true, true, true]);
    assert.deepEqual(decide('always_off'), [false, false, false]);
    assert.deepEqual(decide('parentbased_always_on'), [true, true, false]);
    assert.deepEqual(decide('parentbased_always_off'), [false, true, false]);
    assert.deepEqual(decide('parentbased_traceidratio', '0'), [false, true, false]);
    assert.deepEqual(decide('traceidratio', '1'), [true, true, true]);
  });

  test('a ratio takes about so many, by the id of the trace', () => {
    const sampler = samplerOf('traceidratio', '0.25');
    const decisions = Array.from({ length: 4000 }, () => sampler(undefined));
    const share = decisions.filter(({ sampled }) => sampled).length / decisions.length;
    assert.ok(share > 0.2 && share < 0.3, String(share));
    for (const { traceId, sampled } of decisions.slice(0, 100)) {
      assert.equal(sampler({ traceId: traceId!, spanId: newSpanId(), traceFlags: 0 }).sampled, sampled);
    }
  });

  test('what OpenTelemetry does not know is refused, with what it knows', () => {
    assert.throws(() => samplerOf('sometimes'), /OTEL_TRACES_SAMPLER.*parentbased_traceidratio/);
    for (const argument of ['2', '-1', 'x', ' ']) {
      assert.throws(() => samplerOf('traceidratio', argument), /OTEL_TRACES_SAMPLER_ARG/);
    }
  });
});

test('a span keeps so many events and counts the rest', () => {
  const { tracer } = tracing(ALWAYS);
  const span = begin(tracer);
  for (let event = 0; event < MAX_EVENTS + 7; event++) span.addEvent('document');
  assert.deepEqual([span.events?.length, span.droppedEvents], [MAX_EVENTS, 7]);
});

test('a caller’s context goes on, whatever its state is', () => {
  const { tracer } = tracing(samplerOf());
  const caller = { traceId: newTraceId(), spanId: newSpanId(), traceFlags: 1 };
  const span = begin(tracer, caller);
  assert.deepEqual(
    [span.traceId, span.recording.parent?.spanId, span.sampled],
    [caller.traceId, caller.spanId, true],
  );
  assert.notEqual(begin(tracer).traceId, caller.traceId);
});

describe('libraries that use OpenTelemetry’s interface', () => {
  connectLibraries();
  const library = trace.getTracer('a library');

  test('begin parts of the span that they are called for', () => {
    const { tracer, names, out } = tracing(ALWAYS);
    const root = begin(tracer);
    const store = root.child('store');
    const span = library.startSpan('search docs', { attributes: { a: 1 } }, traceOf(store).trace);
    span.setStatus({ code: SpanStatusCode.ERROR }).end();
    store.end();
    root.end();
    assert.deepEqual(names(), ['call', 'store', 'search docs']);
    assert.equal(out[2]?.parent, store);
    assert.deepEqual(out[2]?.attributes, { a: 1 });
  });

  test('begin nothing for a request that may not be kept', () => {
    const { tracer } = tracing(NEVER);
    assert.deepEqual(traceOf(begin(tracer)), {});
    assert.equal(library.startSpan('x', {}, ROOT_CONTEXT).isRecording(), false);
  });

  test('send a context that can be read again', () => {
    const { tracer } = tracing(ALWAYS);
    const span = begin(tracer);
    const { traceId, id: spanId } = span;
    const sent = { traceId, spanId, traceFlags: 1, isRemote: true };
    assert.deepEqual(parseTraceparent(formatTraceparent(sent)), sent);
  });
});
