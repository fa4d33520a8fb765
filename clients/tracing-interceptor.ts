import { createRequire } from 'node:module';
import { InterceptingCall, type Interceptor, Metadata, status as Code } from '@grpc/grpc-js';
import type * as OpenTelemetry from '@opentelemetry/api';

/**
 * OpenTelemetry's interface, where it is installed: an optional dependency. It does nothing by itself; a program that
 * registers an SDK sees the calls of its clients, and the services continue its traces.
 */
let otel: typeof OpenTelemetry | undefined | 'unasked' = 'unasked';

/** It is loaded with the first client, not with the import. */
function openTelemetry(): typeof OpenTelemetry | undefined {
  if (otel === 'unasked') otel = load();
  return otel;
}

function load(): typeof OpenTelemetry | undefined {
  try {
    // A bundle that is CommonJS may have no `import.meta.url`.
    const here = typeof __filename === 'string' ? __filename : import.meta.url;
    return createRequire(here)('@opentelemetry/api') as typeof OpenTelemetry;
  } catch {
    return undefined;
  }
}

/** Bounds in seconds that the semantic conventions advise for `rpc.client.call.duration`. */
const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];

/** W3C, https://www.w3.org/TR/trace-context/#traceparent-header */
const TRACEPARENT = /^[0-9a-f]{2}-(?<traceId>[0-9a-f]{32})-(?<spanId>[0-9a-f]{16})-(?<flags>[0-9a-f]{2})/;

/** What a call carries besides its message, by key; a key with several values stands several times on the wire. */
export type CallMetadata = Readonly<Record<string, string | Buffer | readonly (string | Buffer)[]>>;

/**
 * What a call carries beside its message.
 *
 * @param traceparent - W3C trace context that it belongs to
 * @param own - what the caller adds
 */
export function metadataOf(traceparent: string | undefined, own: CallMetadata = {}): Metadata {
  const metadata = new Metadata();
  for (const [key, values] of Object.entries(own)) {
    for (const value of Array.isArray(values) ? values : [values]) metadata.add(key, value);
  }
  if (traceparent !== undefined && traceparent !== '') metadata.set('traceparent', traceparent);
  return metadata;
}

/**
 * Makes a span of each call, whatever its shape, and sends its context along: under the `traceparent` that the call
 * carries already, or under what is active. Fits into `interceptors` of any client of grpc-js.
 *
 * @param address - `host:port` of the service
 */
export function tracingInterceptor(address: string): Interceptor {
  const otel = openTelemetry();
  if (!otel) return (options, nextCall) => new InterceptingCall(nextCall(options));
  const { context, metrics, propagation, SpanKind, SpanStatusCode, trace } = otel;
  const tracer = trace.getTracer('@scalingnote/client');
  const duration = metrics.getMeter('@scalingnote/client').createHistogram('rpc.client.call.duration', {
    unit: 's',
    description: 'Duration of calls that were made',
    advice: { explicitBucketBoundaries: SECONDS },
  });
  const colon = address.lastIndexOf(':');
  const server = {
    'server.address': address.slice(0, colon),
    'server.port': Number(address.slice(colon + 1)),
  };
  return (options, nextCall) => {
    const method = options.method_definition.path.slice(1);
    const attributes = { 'rpc.system.name': 'grpc', 'rpc.method': method, ...server };
    return new InterceptingCall(nextCall(options), {
      start: (metadata, listener, next) => {
        const begun = performance.now();
        const parent = contextOf(metadata) ?? context.active();
        const span = tracer.startSpan(method, { kind: SpanKind.CLIENT, attributes }, parent);
        if (span.isRecording()) {
          propagation.inject(trace.setSpan(parent, span), metadata, {
            set: (carrier, key, value) => carrier.set(key, value),
          });
        }
        next(metadata, {
          onReceiveMetadata: (received, pass) => pass(received),
          onReceiveMessage: (message, pass) => pass(message),
          onReceiveStatus: (received, pass) => {
            const name = Code[received.code];
            const failed = received.code !== Code.OK;
            const outcome = { 'rpc.response.status_code': name, ...(failed && { 'error.type': name }) };
            duration.record((performance.now() - begun) / 1000, { ...attributes, ...outcome });
            span.setAttributes(outcome);
            if (failed) span.setStatus({ code: SpanStatusCode.ERROR, message: received.details });
            span.end();
            pass(received);
          },
        });
      },
    });
  };

  /** The context that a call was given by its maker. */
  function contextOf(metadata: Metadata) {
    const [text] = metadata.get('traceparent');
    if (text === undefined || !otel) return undefined;
    const { traceId, spanId, flags } = TRACEPARENT.exec(String(text))?.groups ?? {};
    if (traceId === undefined || spanId === undefined || flags === undefined) return undefined;
    const traceFlags = Number.parseInt(flags, 16) & otel.TraceFlags.SAMPLED;
    return otel.trace.setSpanContext(otel.context.active(), { traceId, spanId, traceFlags, isRemote: true });
  }
}
