import { Metadata } from '@grpc/grpc-js';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { trace } from '@opentelemetry/api';
import { registeredSdk } from '../../services/runtime/telemetry/sdk-tracer.ts';
import { Tracer, type CallTracer } from '../../services/runtime/telemetry/tracer.ts';

// `node dist/bench/tracing/spans.js` prints the cost of a search's span with each tracer in nanoseconds, from
// its start until an exporter that drops it has it. The numbers of `docs/decisions/tracer.md` come from here.

const SPANS_PER_SEARCH = 6;
const SEARCHES = 20_000;
const ROUNDS = 9;

/** The spans of a search, with about as many attributes as it has. */
function search(tracer: CallTracer): void {
  const now = performance.now();
  const attributes = { 'rpc.system.name': 'grpc', 'rpc.method': 'scalingnote.v1.QueryService/Search' };
  const call = tracer.incoming('scalingnote.v1.QueryService/Search', { metadata: METADATA }, now, attributes);
  call.record('queue', now, now);
  call.record('tokenize', now, now);
  const encode = {
    'gen_ai.operation.name': 'embeddings',
    'gen_ai.usage.input_tokens': 7,
    'scalingnote.encode.cached': false,
  };
  call.child('encode', { startTime: now, attributes: encode }).end();
  const store = { 'db.system.name': 'embedded', 'db.operation.name': 'search' };
  call.child('store', { attributes: store }).end();
  call.record('group', now, now, { 'scalingnote.hits': 10 });
  call.setAttribute('rpc.response.status_code', 'OK').end();
}
const METADATA = new Metadata();

const nowhere = { export: (_: unknown, done: (result: { code: number }) => void) => done({ code: 0 }) };
const provider = new BasicTracerProvider({
  resource: resourceFromAttributes({ 'service.name': 'bench' }),
  spanProcessors: [new BatchSpanProcessor({ ...nowhere, shutdown: () => Promise.resolve() })],
});
trace.setGlobalTracerProvider(provider);
const sdk = registeredSdk({ name: 'bench' }).tracer!;
const sides = {
  'our own tracer, not sampled': new Tracer({ push: () => {} }, () => ({ sampled: false })),
  'our own tracer, sampled': new Tracer({ push: () => {} }, () => ({ sampled: true })),
  'OpenTelemetry’s SDK, sampled': sdk,
};
const found = new Map<string, number[]>();
for (let round = 0; round <= ROUNDS; round++) {
  for (const [name, tracer] of Object.entries(sides)) {
    const started = performance.now();
    for (let index = 0; index < SEARCHES; index++) search(tracer);
    const nanoseconds = ((performance.now() - started) * 1e6) / (SEARCHES * SPANS_PER_SEARCH);
    // The first round only lets the compiler finish.
    if (round > 0) found.set(name, [...(found.get(name) ?? []), nanoseconds]);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
for (const [name, values] of found) {
  const median = values.sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
  process.stdout.write(`${name}: ${median.toFixed(0)} ns a span\n`);
}
await provider.shutdown();
