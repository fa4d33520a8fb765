import type { IOtlpExportDelegate } from '@opentelemetry/otlp-exporter-base';
import {
  convertLegacyHttpOptions,
  createOtlpHttpExportDelegate,
} from '@opentelemetry/otlp-exporter-base/node-http';
import {
  convertLegacyOtlpGrpcOptions,
  createOtlpGrpcExportDelegate,
} from '@opentelemetry/otlp-grpc-exporter-base';
import { ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer';
import type { ExportTarget } from './environment.ts';
import type { SpanRequest } from './otlp-spans.ts';

/** Where spans are sent. */
export interface SpanTarget {
  protocol: ExportTarget;
  /** @default as `OTEL_EXPORTER_OTLP_*` say */
  url?: string;
  /** Longest time for one request, attempts included, in milliseconds. @default as above */
  timeoutMillis?: number;
}

const requests = {
  serializeRequest: (request: SpanRequest) => request.finish(),
  deserializeResponse: (bytes: Uint8Array) => ProtobufTraceSerializer.deserializeResponse(bytes),
};

/** For the exporter's metrics of itself, which are off. */
const counted = { name: 'span', countItems: ({ size }: SpanRequest) => size } as const;

/**
 * Sends requests as OpenTelemetry's own exporters do, who read headers, certificates and compression from the
 * environment, and try again; they take what is encoded already.
 */
export function spanSender({ protocol, ...options }: SpanTarget): IOtlpExportDelegate<SpanRequest> {
  if (protocol === 'grpc') {
    return createOtlpGrpcExportDelegate(
      convertLegacyOtlpGrpcOptions(options, 'TRACES'),
      requests,
      'otlp_grpc_span_exporter',
      counted,
      undefined,
      'TraceExportService',
      '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
    );
  }
  return createOtlpHttpExportDelegate(
    convertLegacyHttpOptions(options, 'TRACES', 'v1/traces', { 'Content-Type': 'application/x-protobuf' }),
    requests,
    'otlp_http_span_exporter',
    counted,
    undefined,
  );
}
