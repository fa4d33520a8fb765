import { SpanStatusCode } from '@opentelemetry/api';
import { status } from '@grpc/grpc-js';
import type { Logger } from 'pino';
import type { ServiceError } from '../errors.ts';
import type { CounterSeries, GaugeSeries, HistogramSeries } from './instruments.ts';
import type { Metrics } from './metrics.ts';
import type { Span } from './span.ts';
import type { CallTracer, IncomingCall } from './tracer.ts';

/** Statuses that are the server's fault: the semantic conventions for gRPC count these, and no others, as errors. */
const FAULTS: ReadonlySet<status> = new Set([
  status.UNKNOWN,
  status.DEADLINE_EXCEEDED,
  status.UNIMPLEMENTED,
  status.INTERNAL,
  status.UNAVAILABLE,
  status.DATA_LOSS,
]);

/** Traces and measures the calls of one method. */
export class RpcWatch {
  readonly #name: string;
  readonly #isStream: boolean;
  readonly #tracer: CallTracer | undefined;
  readonly #metrics: Metrics | undefined;
  readonly #slowMs: number;
  readonly #log: Logger;
  readonly #durations = new Map<status, HistogramSeries>();
  readonly #rejected = new Map<string, CounterSeries>();
  readonly #activeCalls: GaugeSeries | undefined;
  #active = 0;

  /** @param path - `/package.Service/Method` */
  constructor(
    path: string,
    isStream: boolean,
    parts: { tracer: CallTracer | undefined; metrics: Metrics | undefined; slowMs: number; log: Logger },
  ) {
    this.#name = path.slice(1);
    this.#isStream = isStream;
    this.#tracer = parts.tracer;
    this.#metrics = parts.metrics;
    this.#slowMs = parts.slowMs;
    this.#log = parts.log;
    this.#activeCalls = parts.metrics?.activeCalls({ 'rpc.method': this.#name });
    this.#activeCalls?.set(0);
    if (!parts.metrics) return;
    // Those that alerts look at are there before the first call: a rate needs a value to rise from.
    for (const code of [status.OK, status.RESOURCE_EXHAUSTED, status.DEADLINE_EXCEEDED]) {
      this.#durationsOf(code, parts.metrics);
    }
    this.#rejectedFor('OVERLOADED', parts.metrics);
  }

  /** The same handler, in which the span of its call is active where the tracer has that. */
  activate<Parameters extends unknown[], Result>(
    handler: (...parameters: Parameters) => Result,
    spanOf: (...parameters: Parameters) => Span | undefined,
  ): (...parameters: Parameters) => Result {
    return this.#tracer?.activate(handler, spanOf) ?? handler;
  }

  /** A call came in. */
  begin(call: IncomingCall): WatchedCall {
    const startTime = call.head?.arrived ?? performance.now();
    this.#activeCalls?.set(++this.#active);
    if (!this.#tracer) return { startTime };
    const attributes = { 'rpc.system.name': 'grpc', 'rpc.method': this.#name };
    return { startTime, span: this.#tracer.incoming(this.#name, call, startTime, attributes) };
  }

  /** The call was answered. @param error - absent where it succeeded */
  end({ startTime, span }: WatchedCall, error: ServiceError | undefined): void {
    const code = error?.code ?? status.OK;
    const endTime = performance.now();
    this.#activeCalls?.set(--this.#active);
    if (span) {
      span.setAttribute('rpc.response.status_code', status[code]);
      endRequest(span, error, !this.#isStream && endTime - startTime >= this.#slowMs);
      span.end(endTime);
    }
    if (this.#metrics) this.#durationsOf(code, this.#metrics).record((endTime - startTime) / 1000, span);
    if (this.#log.isLevelEnabled('debug')) {
      const fields = {
        method: this.#name,
        status: status[code],
        ms: endTime - startTime,
        reason: error?.reason,
      };
      this.#log.debug({ ...fields, ...span?.logFields }, 'call');
    }
    if (error && this.#metrics) this.#rejectedFor(error.reason, this.#metrics).add(1);
  }

  /** A call was refused before it was read. @param arrived as of `performance.now()` */
  refused(error: ServiceError, arrived: number): void {
    if (!this.#metrics) return;
    this.#durationsOf(error.code, this.#metrics).record((performance.now() - arrived) / 1000);
    this.#rejectedFor(error.reason, this.#metrics).add(1);
  }

  #rejectedFor(reason: string, metrics: Metrics): CounterSeries {
    let rejected = this.#rejected.get(reason);
    if (!rejected) {
      rejected = metrics.rejected({ 'rpc.method': this.#name, 'scalingnote.reason': reason });
      this.#rejected.set(reason, rejected);
    }
    return rejected;
  }

  #durationsOf(code: status, metrics: Metrics): HistogramSeries {
    let durations = this.#durations.get(code);
    if (!durations) {
      durations = metrics.callDuration({
        'rpc.system.name': 'grpc',
        'rpc.method': this.#name,
        'rpc.response.status_code': status[code],
        ...(code === status.OK ? {} : { 'error.type': status[code] }),
      });
      this.#durations.set(code, durations);
    }
    return durations;
  }
}

/** What is known of a call while it lasts. */
export interface WatchedCall {
  /** As of `performance.now()`. */
  readonly startTime: number;
  readonly span?: Span;
}

/** Records how a request ended: a call, or one request of a stream. */
export function endRequest(span: Span, error: ServiceError | undefined, slow = false): void {
  if (slow) span.notable = true;
  if (!error) return;
  span.setAttribute('error.type', status[error.code]);
  span.setAttribute('scalingnote.reason', error.reason);
  // That a caller gave up is not worth a trace.
  if (error.code !== status.CANCELLED) span.notable = true;
  if (FAULTS.has(error.code)) span.setStatus({ code: SpanStatusCode.ERROR, message: error.message });
}
