import { readFileSync } from 'node:fs';
import type { MethodDefinition } from '@grpc/grpc-js';
import { loadFileDescriptorSetFromBuffer } from '@grpc/proto-loader';

// Reads OTLP by its published schema, so that none of our own code judges what we send. `otlp.binpb` is a
// FileDescriptorSet of the PyPI package `opentelemetry-proto` 1.45.2: trace, metrics and their collector services.

/** A span of OTLP. Times are nanoseconds since the epoch, ids are hex. */
export interface OtlpSpan {
  /** `service.name` of the process. */
  service: string;
  /** Name and version of the instrumentation scope. */
  scope: string;
  traceId: string;
  spanId: string;
  /** `null` where the span begins its trace. */
  parentSpanId: string | null;
  traceState: string;
  name: string;
  kind: string;
  start: bigint;
  end: bigint;
  attributes: Record<string, unknown>;
  events: { name: string; time: bigint; attributes: Record<string, unknown> }[];
  droppedEvents: number;
  links: { traceId: string; spanId: string; attributes: Record<string, unknown>; flags: number }[];
  status: string;
  statusMessage: string;
  flags: number;
}

/** A metric of OTLP. */
export interface OtlpMetric {
  service: string;
  name: string;
  unit: string;
  description: string;
  /** `gauge`, `sum` or `histogram`. */
  kind: string;
  isMonotonic: boolean;
  points: { attributes: Record<string, unknown>; count: number; bounds: number[]; value: number }[];
}

interface Value {
  string_value?: string;
  bool_value?: boolean;
  int_value?: string;
  double_value?: number;
  array_value?: { values: Value[] };
}
type Pairs = readonly { key: string; value: Value }[];
interface Point {
  attributes: Pairs;
  as_double?: number;
  as_int?: string;
  count?: string;
  explicit_bounds?: number[];
}
interface Data {
  data_points: Point[];
  is_monotonic?: boolean;
}
interface SpanRequest {
  resource_spans: {
    resource: { attributes: Pairs };
    scope_spans: {
      scope: { name: string; version: string };
      spans: {
        trace_id: Buffer;
        span_id: Buffer;
        parent_span_id: Buffer;
        trace_state: string;
        name: string;
        kind: string;
        start_time_unix_nano: string;
        end_time_unix_nano: string;
        attributes: Pairs;
        events: { time_unix_nano: string; name: string; attributes: Pairs }[];
        dropped_events_count: number;
        links: { trace_id: Buffer; span_id: Buffer; attributes: Pairs; flags: number }[];
        status: { message: string; code: string } | null;
        flags: number;
      }[];
    }[];
  }[];
}
interface MetricRequest {
  resource_metrics: {
    resource: { attributes: Pairs };
    scope_metrics: {
      metrics: {
        name: string;
        unit: string;
        description: string;
        data: string;
        gauge?: Data;
        sum?: Data;
        histogram?: Data;
      }[];
    }[];
  }[];
}

const descriptors = loadFileDescriptorSetFromBuffer(
  readFileSync(new URL('../../../../../services/runtime/telemetry/testing/otlp.binpb', import.meta.url)),
  { longs: String, enums: String, defaults: true, arrays: true, oneofs: true },
);

function decoder(service: string): (body: Buffer) => unknown {
  const methods = descriptors[`opentelemetry.proto.collector.${service}`];
  return (methods as unknown as { Export: MethodDefinition<unknown, unknown> }).Export.requestDeserialize;
}

const decodeSpans = decoder('trace.v1.TraceService');
const decodeMetrics = decoder('metrics.v1.MetricsService');

/** Reads an ExportTraceServiceRequest. */
export function readSpanRequest(body: Buffer): OtlpSpan[] {
  const { resource_spans } = decodeSpans(body) as SpanRequest;
  return resource_spans.flatMap(({ resource, scope_spans }) =>
    scope_spans.flatMap(({ scope, spans }) =>
      spans.map((span) => ({
        service: serviceOf(resource.attributes),
        scope: `${scope.name} ${scope.version}`.trim(),
        traceId: span.trace_id.toString('hex'),
        spanId: span.span_id.toString('hex'),
        parentSpanId: span.parent_span_id.length === 0 ? null : span.parent_span_id.toString('hex'),
        traceState: span.trace_state,
        name: span.name,
        kind: span.kind.replace('SPAN_KIND_', '').toLowerCase(),
        start: BigInt(span.start_time_unix_nano),
        end: BigInt(span.end_time_unix_nano),
        attributes: attributesOf(span.attributes),
        events: span.events.map(({ name, time_unix_nano, attributes }) => ({
          name,
          time: BigInt(time_unix_nano),
          attributes: attributesOf(attributes),
        })),
        droppedEvents: span.dropped_events_count,
        links: span.links.map(({ trace_id, span_id, attributes, flags }) => ({
          traceId: trace_id.toString('hex'),
          spanId: span_id.toString('hex'),
          attributes: attributesOf(attributes),
          flags,
        })),
        status: (span.status?.code ?? 'STATUS_CODE_UNSET').replace('STATUS_CODE_', '').toLowerCase(),
        statusMessage: span.status?.message ?? '',
        flags: span.flags,
      })),
    ),
  );
}

/** Reads an ExportMetricsServiceRequest. */
export function readMetricRequest(body: Buffer): OtlpMetric[] {
  const { resource_metrics } = decodeMetrics(body) as MetricRequest;
  return resource_metrics.flatMap(({ resource, scope_metrics }) =>
    scope_metrics.flatMap(({ metrics }) =>
      metrics.map(({ name, unit, description, data: kind, gauge, sum, histogram }) => {
        const { data_points: points, is_monotonic: isMonotonic = false } = (gauge ?? sum ?? histogram)!;
        return {
          service: serviceOf(resource.attributes),
          name,
          unit,
          description,
          kind,
          isMonotonic,
          points: points.map(({ attributes, count, explicit_bounds: bounds, as_double, as_int }) => ({
            attributes: attributesOf(attributes),
            count: Number(count ?? 0),
            bounds: bounds ?? [],
            value: Number(as_double ?? as_int ?? 0),
          })),
        };
      }),
    ),
  );
}

function serviceOf(resource: Pairs): string {
  return String(attributesOf(resource)['service.name']);
}

function attributesOf(pairs: Pairs): Record<string, unknown> {
  return Object.fromEntries(pairs.map(({ key, value }) => [key, valueOf(value)]));
}

function valueOf(value: Value): unknown {
  if (value.array_value) return value.array_value.values.map(valueOf);
  if (value.int_value !== undefined) return Number(value.int_value);
  return value.string_value ?? value.double_value ?? value.bool_value;
}
