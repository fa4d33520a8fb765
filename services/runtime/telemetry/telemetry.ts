import { randomUUID } from 'node:crypto';
import { diag, DiagLogLevel } from '@opentelemetry/api';
import type { InstrumentationScope } from '@opentelemetry/core';
import {
  defaultResource,
  detectResources,
  envDetector,
  resourceFromAttributes,
  type Resource,
} from '@opentelemetry/resources';
import type { MeterProvider } from '@opentelemetry/sdk-metrics';
import type { SpanExporter } from '@opentelemetry/sdk-trace-base';
import type { Logger } from 'pino';
import type { OutgoingTls } from '../../../calls/outgoing-tls.ts';
import type { Access } from '../access/access.ts';
import type { Tls } from '../tls/tls.ts';
import type { Instrument } from './instruments.ts';
import { LazyExporter } from './lazy-exporter.ts';
import { connectLibraries } from './library-spans.ts';
import { Metrics } from './metrics.ts';
import { serveMetrics, type MetricsEndpoint } from './metrics-endpoint.ts';
import { exportTarget, flag, numberOf, type ExportTarget } from './otel-environment.ts';
import { httpConnection, otlpConnection } from './otlp-connection.ts';
import { measureProcess } from './process-metrics.ts';
import { RpcWatch } from './rpc.ts';
import { samplerOf } from './sampler.ts';
import { registeredSdk, type RegisteredSdk } from './sdk-tracer.ts';
import { SpanQueue } from './span-queue.ts';
import { Tracer, type CallTracer } from './tracer.ts';

/** Longest wait for the last spans and metrics to be taken when the process ends. */
const CLOSE_TIMEOUT_MS = 3000;

/** How often spans go to the console, in milliseconds: somebody waits for them to appear. */
const CONSOLE_DELAY_MS = 200;

/** Longest time for the console to take spans, attempts included: it is near, or it is not there. */
const CONSOLE_TIMEOUT_MS = 1000;

/** Settings that are not in `OTEL_*`. */
export interface TelemetrySettings {
  /** `service.name`, where `OTEL_SERVICE_NAME` does not say another. */
  name: string;
  version: string;
  /** `host:port` of the console; empty for none. */
  consoleAddress: string;
  /** What to reach the console with. @default plain text */
  consoleTls?: OutgoingTls | undefined;
  metricsHost: string;
  /** Absent where another process shows the metrics. */
  metricsPort?: number | undefined;
  /** How to choose another port for the metrics. */
  metricsPortSetting: string;
  /** See `serveMetrics`. */
  access?: Access | undefined;
  tls?: Tls | undefined;
  /** A call that takes so long is exported although it was not sampled; in milliseconds. */
  slowMs: number;
}

type EndpointSettings = Omit<TelemetrySettings, 'consoleAddress' | 'consoleTls' | 'slowMs'>;

/** The traces and metrics of a service. */
export interface Telemetry {
  readonly tracer: CallTracer | undefined;
  readonly metrics: Metrics | undefined;
  /** As in {@link TelemetrySettings}. */
  readonly slowMs: number;
  /** `host:port` of the metrics endpoint, where there is one. */
  readonly metricsAddress: string | undefined;
  /** Traces and measures the calls of a method. @param path - `/package.Service/Method` */
  watch(path: string, isStream: boolean): RpcWatch;
  /** Exports the rest, if that does not take too long, and stops. Never rejects. */
  close(): Promise<void>;
}

/**
 * Sets a process's telemetry up as the environment says; `undefined` with `OTEL_SDK_DISABLED=true`. Where an
 * OpenTelemetry SDK was registered first, spans and metrics go to that SDK: it reads `OTEL_*`, samples and exports.
 *
 * @throws {EnvironmentError} where a variable can't be understood
 */
export async function startTelemetry(
  settings: TelemetrySettings,
  env: NodeJS.ProcessEnv,
  log: Logger,
): Promise<Telemetry | undefined> {
  if (flag(env, 'OTEL_SDK_DISABLED')) return undefined;
  const scope: InstrumentationScope = { name: 'scalingnote', version: settings.version };
  const sdk = registeredSdk(scope);
  logSdk(sdk, settings, log);
  if (!sdk.tracer && !sdk.meter) {
    diag.setLogger(diagnostics(log), { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true });
  }
  const resource = resourceOf(settings);

  const spans = sdk.tracer ? undefined : await startSpans(settings, env, { resource, scope, log });
  const tracer = sdk.tracer ?? spans?.tracer;
  const metrics = new Metrics(sdk.meter);
  const otlp = sdk.meter ? undefined : exportTarget(env, 'METRICS');
  const provider = otlp && (await startMetrics(otlp, env, metrics, { resource, scope }));
  const stopMeasuring = measureProcess(metrics);
  if (spans) {
    metrics.observeTotal(
      'scalingnote.telemetry.dropped',
      '{span}',
      'Spans that were given up because too many waited, or nobody took them',
      () => spans.queue.dropped,
    );
  }
  const collect = (): Iterable<Instrument> => metrics.all;
  const endpoint = await startEndpoint(settings, sdk.meter ? {} : env, { resource, collect, log });
  return {
    tracer,
    metrics,
    slowMs: settings.slowMs,
    metricsAddress: endpoint?.address,
    watch: (path, isStream) =>
      new RpcWatch(path, isStream, { tracer, metrics, slowMs: settings.slowMs, log }),
    close: async () => {
      stopMeasuring();
      const closing = Promise.allSettled([
        spans?.queue.close(),
        provider?.shutdown(),
        endpoint?.close(),
        sdk.flush(),
      ]);
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise((resolve) => (timer = setTimeout(resolve, CLOSE_TIMEOUT_MS)));
      await Promise.race([closing, late]);
      clearTimeout(timer);
    },
  };
}

/** Says what an SDK takes over, and what is then off. */
function logSdk(
  { tracer, meter }: RegisteredSdk,
  { consoleAddress, consoleTls }: TelemetrySettings,
  log: Logger,
): void {
  if (!tracer && !meter) return;
  const taken = [tracer && 'spans', meter && 'metrics'].filter((each) => each !== undefined).join(' and ');
  const off = `OpenTelemetry's SDK is registered and takes the ${taken}; our own export of them, and what OTEL_* says about it, is off`;
  const hint =
    tracer && consoleAddress !== ''
      ? `; the console gets no spans unless the SDK sends them to ${tracesAt(consoleAddress, consoleTls)}`
      : '';
  log.info(off + hint);
}

/**
 * Only the endpoint, for a process that shows what others measure.
 *
 * @throws {EnvironmentError} where a variable can't be understood
 */
export async function startMetricsEndpoint(
  settings: EndpointSettings,
  env: NodeJS.ProcessEnv,
  parts: Pick<Parameters<typeof serveMetrics>[0], 'collect' | 'log'>,
): Promise<MetricsEndpoint | undefined> {
  if (flag(env, 'OTEL_SDK_DISABLED')) return undefined;
  const sdk = registeredSdk({ name: 'scalingnote', version: settings.version });
  return startEndpoint(settings, sdk.meter ? {} : env, { ...parts, resource: resourceOf(settings) });
}

/** The endpoint that Prometheus and the console read, whoever exports the metrics. */
async function startEndpoint(
  settings: EndpointSettings,
  env: NodeJS.ProcessEnv,
  parts: Pick<Parameters<typeof serveMetrics>[0], 'collect' | 'log'> & { resource: Resource },
): Promise<MetricsEndpoint | undefined> {
  if (settings.metricsPort === undefined) return undefined;
  if (!(env['OTEL_METRICS_EXPORTER'] ?? 'prometheus').split(',').includes('prometheus')) return undefined;
  return serveMetrics({
    host: env['OTEL_EXPORTER_PROMETHEUS_HOST'] ?? settings.metricsHost,
    port: numberOf(env, 'OTEL_EXPORTER_PROMETHEUS_PORT') ?? settings.metricsPort,
    portSetting: settings.metricsPortSetting,
    resource: parts.resource.attributes,
    collect: parts.collect,
    log: parts.log,
    access: settings.access,
    tls: settings.tls,
  });
}

async function startSpans(
  settings: TelemetrySettings,
  env: NodeJS.ProcessEnv,
  origin: { resource: Resource; scope: InstrumentationScope; log: Logger },
): Promise<{ tracer: Tracer; queue: SpanQueue } | undefined> {
  const { OTEL_TRACES_SAMPLER: name, OTEL_TRACES_SAMPLER_ARG: argument } = env;
  const sampler = samplerOf(name || undefined, argument || undefined);
  const exporter = await spanExporter(env, settings);
  if (!exporter) return undefined;
  const queue = new SpanQueue(
    exporter.exporter,
    {
      scheduledDelayMillis: numberOf(env, 'OTEL_BSP_SCHEDULE_DELAY') ?? exporter.delayMs,
      maxQueueSize: numberOf(env, 'OTEL_BSP_MAX_QUEUE_SIZE') ?? 2048,
      maxExportBatchSize: numberOf(env, 'OTEL_BSP_MAX_EXPORT_BATCH_SIZE') ?? 512,
    },
    origin,
  );
  connectLibraries();
  return { tracer: new Tracer(queue, sampler), queue };
}

/**
 * Exports spans to the receiver that the environment names, or else to the console of this machine. An exporter takes
 * longer to load than the rest of a service's telemetry: only that of the environment, whose settings may be wrong, is loaded at once.
 */
async function spanExporter(
  env: NodeJS.ProcessEnv,
  { consoleAddress, consoleTls }: TelemetrySettings,
): Promise<{ exporter: SpanExporter; delayMs: number } | undefined> {
  const target = exportTarget(env, 'TRACES');
  if (target) {
    const { OTLPTraceExporter } =
      target === 'grpc'
        ? await import('@opentelemetry/exporter-trace-otlp-grpc')
        : await import('@opentelemetry/exporter-trace-otlp-proto');
    const connection = otlpConnection(env, 'TRACES', target);
    return { exporter: new OTLPTraceExporter({ ...sendTimeout(env), ...connection }), delayMs: 5000 };
  }
  if (env['OTEL_TRACES_EXPORTER'] === 'none' || consoleAddress === '') return undefined;
  const url = tracesAt(consoleAddress, consoleTls);
  const connection = consoleTls ? httpConnection(consoleTls) : {};
  const exporter = new LazyExporter(async () => {
    const { OTLPTraceExporter } = await import('@opentelemetry/exporter-trace-otlp-proto');
    return new OTLPTraceExporter({ url, timeoutMillis: CONSOLE_TIMEOUT_MS, ...connection });
  });
  return { exporter, delayMs: CONSOLE_DELAY_MS };
}

/** Where the console takes spans. */
function tracesAt(address: string, tls: OutgoingTls | undefined): string {
  return `${tls ? 'https' : 'http'}://${address}/v1/traces`;
}

/** The smaller of the limits for a batch of spans and for a request. */
function sendTimeout(env: NodeJS.ProcessEnv): { timeoutMillis?: number } {
  const limit = numberOf(env, 'OTEL_BSP_EXPORT_TIMEOUT');
  if (limit === undefined) return {};
  const own =
    numberOf(env, 'OTEL_EXPORTER_OTLP_TRACES_TIMEOUT') ?? numberOf(env, 'OTEL_EXPORTER_OTLP_TIMEOUT');
  return { timeoutMillis: Math.min(limit, own ?? 10_000) };
}

/** Sends metrics to the receiver that the environment names. */
async function startMetrics(
  target: ExportTarget,
  env: NodeJS.ProcessEnv,
  metrics: Metrics,
  { resource, scope }: { resource: Resource; scope: InstrumentationScope },
): Promise<MeterProvider> {
  const { MeterProvider, PeriodicExportingMetricReader } = await import('@opentelemetry/sdk-metrics');
  const { OTLPMetricExporter } =
    target === 'grpc'
      ? await import('@opentelemetry/exporter-metrics-otlp-grpc')
      : await import('@opentelemetry/exporter-metrics-otlp-proto');
  const { OtlpMetrics } = await import('./otlp-metrics.ts');
  const exporter = new OTLPMetricExporter(otlpConnection(env, 'METRICS', target));
  const exportIntervalMillis = numberOf(env, 'OTEL_METRIC_EXPORT_INTERVAL') ?? 60_000;
  const timeout = numberOf(env, 'OTEL_METRIC_EXPORT_TIMEOUT') ?? 30_000;
  const reader = new PeriodicExportingMetricReader({
    exporter,
    metricProducers: [new OtlpMetrics(metrics, scope, (type) => exporter.selectAggregationTemporality(type))],
    exportIntervalMillis,
    // The reader throws where the timeout is longer than the interval.
    exportTimeoutMillis: Math.min(timeout, exportIntervalMillis),
  });
  // The provider has no instruments: it gives the reader the resource.
  return new MeterProvider({ resource, readers: [reader] });
}

/** `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` override our own attributes. */
function resourceOf({ name, version }: EndpointSettings): Resource {
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

/** Where OpenTelemetry's own packages log to. */
function diagnostics(log: Logger): Parameters<typeof diag.setLogger>[0] {
  const write =
    (level: 'debug' | 'warn') =>
    (message: string, ...details: unknown[]): void =>
      log[level]({ from: 'opentelemetry', ...(details.length > 0 && { details }) }, message);
  const debug = write('debug');
  // An exporter logs an error for each batch that its receiver does not take: the queue logs one for all.
  return { error: debug, warn: write('warn'), info: debug, debug, verbose: debug };
}
