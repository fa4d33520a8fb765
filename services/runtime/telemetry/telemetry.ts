import { randomUUID } from 'node:crypto';
import { diag, DiagLogLevel } from '@opentelemetry/api';
import type { InstrumentationScope } from '@opentelemetry/core';
import { OTLPMetricExporter as MetricsOverGrpc } from '@opentelemetry/exporter-metrics-otlp-grpc';
import { OTLPMetricExporter as MetricsOverHttp } from '@opentelemetry/exporter-metrics-otlp-proto';
import {
  defaultResource,
  detectResources,
  envDetector,
  resourceFromAttributes,
  type Resource,
} from '@opentelemetry/resources';
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import type { Logger } from 'pino';
import { connectLibraries } from './bridge.ts';
import { serveMetrics } from './endpoint.ts';
import { exportTarget, flag, numberOf, type ExportTarget } from './environment.ts';
import { SpanQueue } from './export.ts';
import { Metrics } from './metrics.ts';
import { OtlpMetrics } from './otlp-metrics.ts';
import { measureProcess } from './process-metrics.ts';
import { RpcWatch } from './rpc.ts';
import { samplerOf } from './sampler.ts';
import { spanSender, type SpanTarget } from './span-sender.ts';
import { Tracer } from './tracer.ts';

/** Longest wait for the last spans and metrics to be taken when the process ends. */
const CLOSE_TIMEOUT_MS = 3000;

/** How often spans go to the console, in milliseconds: somebody waits for them to appear. */
const CONSOLE_DELAY_MS = 200;

/** How long the console has for taking spans, attempts included: it is near, or it is not there. */
const CONSOLE_TIMEOUT_MS = 1000;

/** What telemetry has to be told that is not in `OTEL_*`. */
export interface TelemetrySettings {
  /** `service.name`, where `OTEL_SERVICE_NAME` does not say another. */
  name: string;
  version: string;
  /** `host:port` of the console; empty for none. */
  consoleAddress: string;
  metricsHost: string;
  metricsPort: number;
  /** How to choose another port for the metrics. */
  metricsPortSetting: string;
  /** How long a call takes that is told of though it was not sampled, in milliseconds. */
  slowMs: number;
}

/** What a service tells of itself. */
export interface Telemetry {
  readonly tracer: Tracer | undefined;
  readonly metrics: Metrics | undefined;
  /** How long a request takes that is told of though nobody sampled it, in milliseconds. */
  readonly slowMs: number;
  /** `host:port` of the metrics endpoint, where there is one. */
  readonly metricsAddress: string | undefined;
  /** What is seen of the calls of a method. @param path `/package.Service/Method` */
  watch(path: string, isStream: boolean): RpcWatch;
  /** Sends what there is, for as long as it may take, and ends. Never rejects. */
  close(): Promise<void>;
}

/**
 * Sets a process's telemetry up as the environment says; `undefined` with `OTEL_SDK_DISABLED=true`.
 *
 * @throws {EnvironmentError} where a variable can't be understood
 */
export async function startTelemetry(
  settings: TelemetrySettings,
  env: NodeJS.ProcessEnv,
  log: Logger,
): Promise<Telemetry | undefined> {
  if (flag(env, 'OTEL_SDK_DISABLED')) return undefined;
  diag.setLogger(diagnostics(log), { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true });
  const resource = resourceOf(settings);
  const scope: InstrumentationScope = { name: 'scalingnote', version: settings.version };

  const spans = startSpans(settings, env, { resource, scope, log });
  const metrics = new Metrics();
  const otlp = exportTarget(env, 'METRICS');
  const reader = otlp && periodicReader(otlp, env, metrics, scope);
  // It reads from nothing but our own instruments, and gives the reader who speaks.
  const provider = reader && new MeterProvider({ resource, readers: [reader] });
  const stopMeasuring = measureProcess(metrics);
  if (spans) {
    metrics.observeTotal(
      'scalingnote.telemetry.dropped',
      '{span}',
      'Spans that were given up because too many waited, or nobody took them',
      () => spans.queue.dropped,
    );
  }
  const wanted = (env['OTEL_METRICS_EXPORTER'] ?? 'prometheus').split(',').includes('prometheus');
  const endpoint = wanted
    ? await serveMetrics({
        host: env['OTEL_EXPORTER_PROMETHEUS_HOST'] ?? settings.metricsHost,
        port: numberOf(env, 'OTEL_EXPORTER_PROMETHEUS_PORT') ?? settings.metricsPort,
        portSetting: settings.metricsPortSetting,
        resource: resource.attributes,
        instruments: metrics.instruments,
        log,
      })
    : undefined;
  return {
    tracer: spans?.tracer,
    metrics,
    slowMs: settings.slowMs,
    metricsAddress: endpoint?.address,
    watch: (path, isStream) =>
      new RpcWatch(path, isStream, { tracer: spans?.tracer, metrics, slowMs: settings.slowMs, log }),
    close: async () => {
      stopMeasuring();
      const closing = Promise.allSettled([spans?.queue.close(), provider?.shutdown(), endpoint?.close()]);
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise((resolve) => (timer = setTimeout(resolve, CLOSE_TIMEOUT_MS)));
      await Promise.race([closing, late]);
      clearTimeout(timer);
    },
  };
}

function startSpans(
  settings: TelemetrySettings,
  env: NodeJS.ProcessEnv,
  origin: { resource: Resource; scope: InstrumentationScope; log: Logger },
): { tracer: Tracer; queue: SpanQueue } | undefined {
  const sampler = samplerOf(
    env['OTEL_TRACES_SAMPLER'] || undefined,
    env['OTEL_TRACES_SAMPLER_ARG'] || undefined,
  );
  const target = spanTarget(env, settings.consoleAddress);
  if (!target) return undefined;
  const toConsole = target.url !== undefined;
  const queue = new SpanQueue(
    spanSender(target),
    {
      scheduledDelayMillis: numberOf(env, 'OTEL_BSP_SCHEDULE_DELAY') ?? (toConsole ? CONSOLE_DELAY_MS : 5000),
      maxQueueSize: numberOf(env, 'OTEL_BSP_MAX_QUEUE_SIZE') ?? 2048,
      maxExportBatchSize: numberOf(env, 'OTEL_BSP_MAX_EXPORT_BATCH_SIZE') ?? 512,
    },
    { ...origin, resource: origin.resource.attributes },
  );
  connectLibraries();
  return { tracer: new Tracer(queue, sampler), queue };
}

/** Where spans go: where nothing else is said, the console of this machine keeps them. */
function spanTarget(env: NodeJS.ProcessEnv, consoleAddress: string): SpanTarget | undefined {
  const protocol = exportTarget(env, 'TRACES');
  if (protocol) return { protocol, ...sendTimeout(env) };
  if (env['OTEL_TRACES_EXPORTER'] === 'none' || consoleAddress === '') return undefined;
  const url = `http://${consoleAddress}/v1/traces`;
  return { protocol: 'http/protobuf', url, timeoutMillis: CONSOLE_TIMEOUT_MS };
}

/** The limit for a batch holds for the requests that it is sent with, which have limits of their own. */
function sendTimeout(env: NodeJS.ProcessEnv): { timeoutMillis?: number } {
  const limit = numberOf(env, 'OTEL_BSP_EXPORT_TIMEOUT');
  if (limit === undefined) return {};
  const own =
    numberOf(env, 'OTEL_EXPORTER_OTLP_TRACES_TIMEOUT') ??
    numberOf(env, 'OTEL_EXPORTER_OTLP_TIMEOUT') ??
    10_000;
  return { timeoutMillis: Math.min(limit, own) };
}

function periodicReader(
  target: ExportTarget,
  env: NodeJS.ProcessEnv,
  { instruments }: Metrics,
  scope: InstrumentationScope,
): PeriodicExportingMetricReader {
  const exporter = target === 'grpc' ? new MetricsOverGrpc() : new MetricsOverHttp();
  const exportIntervalMillis = numberOf(env, 'OTEL_METRIC_EXPORT_INTERVAL') ?? 60_000;
  const timeout = numberOf(env, 'OTEL_METRIC_EXPORT_TIMEOUT') ?? 30_000;
  return new PeriodicExportingMetricReader({
    exporter,
    metricProducers: [
      new OtlpMetrics(instruments, scope, (type) => exporter.selectAggregationTemporality(type)),
    ],
    exportIntervalMillis,
    // The reader takes none that is longer.
    exportTimeoutMillis: Math.min(timeout, exportIntervalMillis),
  });
}

/** `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` go before what we say of ourselves. */
function resourceOf({ name, version }: TelemetrySettings): Resource {
  return defaultResource()
    .merge(
      resourceFromAttributes({
        'service.name': name,
        'service.namespace': 'scalingnote',
        'service.version': version,
        'service.instance.id': randomUUID(),
        'process.pid': process.pid,
      }),
    )
    .merge(detectResources({ detectors: [envDetector] }));
}

/** What OpenTelemetry's own packages have to say. */
function diagnostics(log: Logger): Parameters<typeof diag.setLogger>[0] {
  const write =
    (level: 'debug' | 'warn') =>
    (message: string, ...details: unknown[]): void =>
      log[level]({ from: 'opentelemetry', ...(details.length > 0 && { details }) }, message);
  const debug = write('debug');
  // An exporter whose receiver is away says so for each batch: the queue says it once.
  return { error: debug, warn: write('warn'), info: debug, debug, verbose: debug };
}
