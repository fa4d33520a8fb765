import protobuf from 'protobufjs/light.js';
import * as z from 'zod';
import type {
  Attributes,
  AttributeValue,
  SpanKind,
  SpanStatus,
  TraceSpan,
} from '../../../clients/console-traces.ts';

/** A span as it was received. The parent may never come: a caller sends its own spans where it likes. */
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
 * Most characters of a string, and most attributes, events and links of a span, that are kept, so that the memory for one
 * span has a bound. The defaults of OpenTelemetry's own limits are 128; a batch links to as many requests as it holds.
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
  const { resourceSpans } = encoding === 'json' ? fromJson(body) : fromProtobuf(body);
  return resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const service = attributesOf(resource?.attributes)['service.name'];
    const name = typeof service === 'string' ? service : 'unknown_service';
    return scopeSpans.flatMap(({ spans }) => spans.map((span) => received(span, name)));
  });
}

const Nanoseconds = z.union([z.string().regex(/^\d+$/), z.number()]).default(0);
const Id = z.union([z.string(), z.instanceof(Uint8Array)]).default('');
const Value: z.ZodType<OtlpValue> = z.lazy(() =>
  z.object({
    stringValue: z.string().optional(),
    boolValue: z.boolean().optional(),
    intValue: z.union([z.string(), z.number()]).optional(),
    doubleValue: z.union([z.number(), z.string()]).optional(),
    arrayValue: z.object({ values: z.array(Value).default([]) }).optional(),
  }),
);
const KeyValues = z.array(z.object({ key: z.string(), value: Value.optional() })).default([]);
const OtlpSpan = z.object({
  traceId: Id,
  spanId: Id,
  parentSpanId: Id,
  name: z.string().default(''),
  kind: z.int().default(0),
  startTimeUnixNano: Nanoseconds,
  endTimeUnixNano: Nanoseconds,
  attributes: KeyValues,
  events: z
    .array(z.object({ timeUnixNano: Nanoseconds, name: z.string().default(''), attributes: KeyValues }))
    .default([]),
  links: z.array(z.object({ traceId: Id, spanId: Id, attributes: KeyValues })).default([]),
  status: z.object({ code: z.int().default(0), message: z.string().default('') }).optional(),
});
const ExportRequest = z.object({
  resourceSpans: z
    .array(
      z.object({
        resource: z.object({ attributes: KeyValues }).optional(),
        scopeSpans: z.array(z.object({ spans: z.array(OtlpSpan).default([]) })).default([]),
      }),
    )
    .default([]),
});

interface OtlpValue {
  stringValue?: string | undefined;
  boolValue?: boolean | undefined;
  intValue?: string | number | undefined;
  doubleValue?: string | number | undefined;
  arrayValue?: { values: OtlpValue[] } | undefined;
}

/** The part of OTLP's protobuf schema that is read here; what is not named is skipped. */
const schema = protobuf.Root.fromJSON({
  nested: {
    ExportRequest: message({ resourceSpans: ['ResourceSpans', 1, 'repeated'] }),
    ResourceSpans: message({ resource: ['Resource', 1], scopeSpans: ['ScopeSpans', 2, 'repeated'] }),
    Resource: message({ attributes: ['KeyValue', 1, 'repeated'] }),
    ScopeSpans: message({ spans: ['Span', 2, 'repeated'] }),
    Span: message({
      traceId: ['bytes', 1],
      spanId: ['bytes', 2],
      parentSpanId: ['bytes', 4],
      name: ['string', 5],
      kind: ['int32', 6],
      startTimeUnixNano: ['fixed64', 7],
      endTimeUnixNano: ['fixed64', 8],
      attributes: ['KeyValue', 9, 'repeated'],
      events: ['Event', 11, 'repeated'],
      links: ['Link', 13, 'repeated'],
      status: ['Status', 15],
    }),
    Event: message({
      timeUnixNano: ['fixed64', 1],
      name: ['string', 2],
      attributes: ['KeyValue', 3, 'repeated'],
    }),
    Link: message({ traceId: ['bytes', 1], spanId: ['bytes', 2], attributes: ['KeyValue', 4, 'repeated'] }),
    Status: message({ message: ['string', 2], code: ['int32', 3] }),
    KeyValue: message({ key: ['string', 1], value: ['Value', 2] }),
    Value: {
      ...message({
        stringValue: ['string', 1],
        boolValue: ['bool', 2],
        intValue: ['int64', 3],
        doubleValue: ['double', 4],
        arrayValue: ['Values', 5],
      }),
      oneofs: { value: { oneof: ['stringValue', 'boolValue', 'intValue', 'doubleValue', 'arrayValue'] } },
    },
    Values: message({ values: ['Value', 1, 'repeated'] }),
  },
});
const requestType = schema.lookupType('ExportRequest');

function message(fields: Record<string, readonly [type: string, id: number, rule?: 'repeated']>) {
  return {
    fields: Object.fromEntries(
      Object.entries(fields).map(([name, [type, id, rule]]) => [name, { type, id, ...(rule && { rule }) }]),
    ),
  };
}

type Request = z.infer<typeof ExportRequest>;

function fromProtobuf(body: Uint8Array): Request {
  try {
    const decoded = requestType.decode(body);
    // 64-bit times become numbers: a quarter of a microsecond is lost, and nothing else.
    return requestType.toObject(decoded, { longs: Number, arrays: true }) as Request;
  } catch (error) {
    throw new OtlpError(`the body is no ExportTraceServiceRequest in protobuf: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

function fromJson(body: Uint8Array): Request {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(body).toString());
  } catch (error) {
    throw new OtlpError(`the body is not JSON: ${(error as Error).message}`, { cause: error });
  }
  const parsed = ExportRequest.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new OtlpError(
    `the body is no ExportTraceServiceRequest in JSON: ${issue?.path.join('.')}: ${issue?.message}`,
  );
}

const KINDS: readonly SpanKind[] = ['internal', 'internal', 'server', 'client', 'producer', 'consumer'];
const STATUSES: readonly SpanStatus[] = ['unset', 'ok', 'error'];

function received(span: z.infer<typeof OtlpSpan>, service: string): ReceivedSpan {
  const parentSpanId = hex(span.parentSpanId);
  return {
    traceId: id(span.traceId, 32, 'trace_id'),
    spanId: id(span.spanId, 16, 'span_id'),
    parentSpanId: /[1-9a-f]/.test(parentSpanId) ? parentSpanId : null,
    name: cut(span.name ?? ''),
    kind: KINDS[span.kind ?? 0] ?? 'internal',
    service,
    startMs: milliseconds(span.startTimeUnixNano),
    endMs: milliseconds(span.endTimeUnixNano),
    attributes: attributesOf(span.attributes),
    events: (span.events ?? []).slice(0, SPAN_LIMITS.events).map(({ name, timeUnixNano, attributes }) => ({
      name: cut(name ?? ''),
      timeMs: milliseconds(timeUnixNano),
      attributes: attributesOf(attributes),
    })),
    links: (span.links ?? []).slice(0, SPAN_LIMITS.links).map(({ traceId, spanId, attributes }) => ({
      traceId: hex(traceId),
      spanId: hex(spanId),
      attributes: attributesOf(attributes),
    })),
    status: STATUSES[span.status?.code ?? 0] ?? 'unset',
    statusMessage: cut(span.status?.message ?? ''),
  };
}

function milliseconds(nanoseconds: string | number | undefined): number {
  return Number(nanoseconds ?? 0) / 1e6;
}

function hex(bytes: string | Uint8Array | undefined): string {
  return typeof bytes === 'object' ? Buffer.from(bytes).toString('hex') : (bytes ?? '').toLowerCase();
}

/** @throws {OtlpError} */
function id(bytes: string | Uint8Array | undefined, digits: number, field: string): string {
  const text = hex(bytes);
  if (text.length === digits && /^[0-9a-f]*[1-9a-f][0-9a-f]*$/.test(text)) return text;
  throw new OtlpError(`a span's ${field} is ${JSON.stringify(text)}; it has ${digits} hex digits, not all 0`);
}

function attributesOf(pairs: z.infer<typeof KeyValues> | undefined): Attributes {
  const attributes: Record<string, AttributeValue> = {};
  for (const { key, value } of (pairs ?? []).slice(0, SPAN_LIMITS.attributes)) {
    const read = value && valueOf(value);
    if (read !== undefined) attributes[cut(key ?? '')] = read;
  }
  return attributes;
}

function valueOf(value: OtlpValue): AttributeValue | undefined {
  if (value.stringValue !== undefined) return cut(value.stringValue);
  if (value.intValue !== undefined) return Number(value.intValue);
  if (value.doubleValue !== undefined) return Number(value.doubleValue);
  if (value.arrayValue !== undefined) {
    const values = (value.arrayValue.values ?? []).slice(0, SPAN_LIMITS.attributes).map(valueOf);
    return values.filter((each) => each !== undefined);
  }
  return value.boolValue;
}

function cut(text: string): string {
  return text.length <= SPAN_LIMITS.characters ? text : `${text.slice(0, SPAN_LIMITS.characters - 1)}…`;
}
