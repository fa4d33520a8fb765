import protobuf from 'protobufjs';
import * as z from 'zod';
import type { AttributeValue, SpanKind, SpanStatus, TraceSpan } from '../../../clients/console-traces.ts';

/** A span as it was received. Its parent may never come: a caller may send its own spans elsewhere. */
export interface ReceivedSpan extends Omit<TraceSpan, 'durationMs' | 'statusMessage'> {
  /** 32 hex digits. */
  traceId: string;
  /** Milliseconds since the epoch, with a fraction, as all times here. */
  startMs: number;
  endMs: number;
  statusMessage: string;
}

/** The body is not OTLP; the message says what is wrong. */
export class OtlpError extends Error {
  override readonly name = 'OtlpError';
}

/**
 * The store keeps at most so many characters of a string, and so many attributes, events and links of a span, so that
 * the memory for one span has a bound. OpenTelemetry's own limits are 128 by default; a batch links to all its requests.
 */
export const SPAN_LIMITS = { characters: 1024, attributes: 128, events: 256, links: 512 } as const;

/**
 * Reads a request to export spans.
 *
 * Source: OTLP 1.5, `opentelemetry/proto/collector/trace/v1/trace_service.proto`, and its mapping to JSON, in which
 * ids are hex and enums are numbers.
 *
 * @throws {OtlpError}
 */
export function readSpans(body: Uint8Array, encoding: 'protobuf' | 'json'): ReceivedSpan[] {
  let request: unknown;
  try {
    // 64-bit times become numbers, which are exact to a quarter of a microsecond.
    request =
      encoding === 'json'
        ? JSON.parse(Buffer.from(body).toString())
        : requestType.toObject(requestType.decode(body), { longs: Number });
  } catch (error) {
    throw new OtlpError(`the body is not ${encoding}: ${(error as Error).message}`, { cause: error });
  }
  const parsed = ExportRequest.safeParse(request);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new OtlpError(
    `the body is no ExportTraceServiceRequest: ${issue?.path.join('.')}: ${issue?.message}`,
  );
}

/** The part of OTLP's schema that is read here; the decoder skips all other fields. */
const requestType = protobuf
  .parse(
    `syntax = "proto3";
    message ExportRequest { repeated ResourceSpans resource_spans = 1; }
    message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2; }
    message Resource { repeated KeyValue attributes = 1; }
    message ScopeSpans { repeated Span spans = 2; }
    message Span {
      bytes trace_id = 1;
      bytes span_id = 2;
      bytes parent_span_id = 4;
      string name = 5;
      int32 kind = 6;
      fixed64 start_time_unix_nano = 7;
      fixed64 end_time_unix_nano = 8;
      repeated KeyValue attributes = 9;
      repeated Event events = 11;
      repeated Link links = 13;
      Status status = 15;
    }
    message Event { fixed64 time_unix_nano = 1; string name = 2; repeated KeyValue attributes = 3; }
    message Link { bytes trace_id = 1; bytes span_id = 2; repeated KeyValue attributes = 4; }
    message Status { string message = 2; int32 code = 3; }
    message KeyValue { string key = 1; Value value = 2; }
    message Value {
      oneof value {
        string string_value = 1;
        bool bool_value = 2;
        int64 int_value = 3;
        double double_value = 4;
        Values array_value = 5;
      }
    }
    message Values { repeated Value values = 1; }`,
  )
  .root.lookupType('ExportRequest');

const KINDS: readonly SpanKind[] = ['internal', 'internal', 'server', 'client', 'producer', 'consumer'];
const STATUSES: readonly SpanStatus[] = ['unset', 'ok', 'error'];

// Checks what either encoding gave, and turns it into spans of ours. Fields of proto3 may be absent.

const Text = z.string().default('').transform(cut);
const Time = z
  .union([z.string().regex(/^\d+$/), z.number()])
  .default(0)
  .transform((nanoseconds) => Number(nanoseconds) / 1e6);
const Id = z
  .union([z.string().toLowerCase(), z.instanceof(Uint8Array)])
  .default('')
  .transform((id) => (typeof id === 'string' ? id : Buffer.from(id).toString('hex')));
const idOf = (digits: number) =>
  Id.refine(
    (id) => id.length === digits && /^[0-9a-f]*[1-9a-f][0-9a-f]*$/.test(id),
    `must have ${digits} hex digits, not all 0`,
  );
const enumOf = <Name>(names: readonly Name[]) =>
  z
    .int()
    .default(0)
    .transform((code) => names[code] ?? names[0]!);
const listOf = <Item extends z.ZodType>(item: Item, most: number = Infinity) =>
  z
    .array(item)
    .optional()
    .transform((items = []) => items.slice(0, most));

const Numeric = z.union([z.number(), z.string()]).transform(Number);
const Value: z.ZodType<AttributeValue | undefined> = z.lazy(() =>
  z
    .object({
      stringValue: z.string().transform(cut).optional(),
      boolValue: z.boolean().optional(),
      intValue: Numeric.optional(),
      doubleValue: Numeric.optional(),
      arrayValue: z
        .object({ values: listOf(Value, SPAN_LIMITS.attributes) })
        .transform(({ values }) => values.filter((each) => each !== undefined))
        .optional(),
    })
    .transform((value) => Object.values(value).find((each) => each !== undefined)),
);
const Attributes = listOf(z.object({ key: Text, value: Value.optional() }), SPAN_LIMITS.attributes).transform(
  (pairs): Readonly<Record<string, AttributeValue>> =>
    Object.fromEntries(pairs.flatMap(({ key, value }) => (value === undefined ? [] : [[key, value]]))),
);
const SpanEvent = z
  .object({ name: Text, timeUnixNano: Time, attributes: Attributes })
  .transform(({ timeUnixNano: timeMs, ...event }) => ({ ...event, timeMs }));
const Span = z
  .object({
    traceId: idOf(32),
    spanId: idOf(16),
    parentSpanId: Id.transform((id) => (/[1-9a-f]/.test(id) ? id : null)),
    name: Text,
    kind: enumOf(KINDS),
    startTimeUnixNano: Time,
    endTimeUnixNano: Time,
    attributes: Attributes,
    events: listOf(SpanEvent, SPAN_LIMITS.events),
    links: listOf(z.object({ traceId: Id, spanId: Id, attributes: Attributes }), SPAN_LIMITS.links),
    status: z.object({ code: enumOf(STATUSES), message: Text }).prefault({}),
  })
  .transform(({ startTimeUnixNano: startMs, endTimeUnixNano: endMs, status, ...span }) => ({
    ...span,
    startMs,
    endMs,
    status: status.code,
    statusMessage: status.message,
  }));
const ResourceSpans = z
  .object({
    resource: z.object({ attributes: Attributes }).optional(),
    scopeSpans: listOf(z.object({ spans: listOf(Span) })),
  })
  .transform(({ resource, scopeSpans }) => {
    const name = resource?.attributes['service.name'];
    const service = typeof name === 'string' ? name : 'unknown_service';
    return scopeSpans.flatMap(({ spans }) => spans.map((span) => ({ ...span, service })));
  });
const ExportRequest = z
  .object({ resourceSpans: listOf(ResourceSpans) })
  .transform(({ resourceSpans }) => resourceSpans.flat());

function cut(text: string): string {
  return text.length <= SPAN_LIMITS.characters ? text : `${text.slice(0, SPAN_LIMITS.characters - 1)}…`;
}
