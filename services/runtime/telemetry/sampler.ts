import { ROOT_CONTEXT, type SpanContext } from '@opentelemetry/api';
import { SamplingDecision, TraceIdRatioBasedSampler } from '@opentelemetry/sdk-trace-base';
import { isSampled } from './span.ts';
import { newTraceId } from './trace-context.ts';
import { EnvironmentError } from './otel-environment.ts';

/** Whether a request's trace is exported, decided at its start. */
export interface Decision {
  sampled: boolean;
  /** The id of a trace that begins here, where the decision depends on it. */
  traceId?: string;
}

/** Decides whether a request's trace is exported. @param parent - absent where the caller has no trace */
export type Sampler = (parent: SpanContext | undefined) => Decision;

const YES: Decision = { sampled: true };
const NO: Decision = { sampled: false };

const NAMES = [
  'always_on',
  'always_off',
  'traceidratio',
  'parentbased_always_on',
  'parentbased_always_off',
  'parentbased_traceidratio',
] as const;

/**
 * The sampler that `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG` name.
 *
 * Source: OpenTelemetry, "Environment Variable Specification", general SDK configuration.
 *
 * @throws {EnvironmentError}
 */
export function samplerOf(name = 'parentbased_always_on', argument = '1'): Sampler {
  if (!(NAMES as readonly string[]).includes(name)) {
    throw new EnvironmentError(
      `OTEL_TRACES_SAMPLER: is ${JSON.stringify(name)}; set one of ${NAMES.join(', ')}`,
    );
  }
  const root = rootSampler(name.replace('parentbased_', ''), argument);
  if (!name.startsWith('parentbased_')) return root;
  return (parent) => {
    if (parent) return isSampled(parent) ? YES : NO;
    return root(undefined);
  };
}

function rootSampler(name: string, argument: string): Sampler {
  if (name === 'always_on') return () => YES;
  if (name === 'always_off') return () => NO;
  const ratio = Number(argument);
  if (!(ratio >= 0 && ratio <= 1) || argument.trim() === '') {
    throw new EnvironmentError(
      `OTEL_TRACES_SAMPLER_ARG: is ${JSON.stringify(argument)}; set a ratio from 0 to 1`,
    );
  }
  if (ratio === 0) return () => NO;
  if (ratio === 1) return () => YES;
  // By the trace's id: all services with the same ratio decide alike.
  const sampler = new TraceIdRatioBasedSampler(ratio);
  return (parent) => {
    const traceId = parent?.traceId ?? newTraceId();
    const { decision } = sampler.shouldSample(ROOT_CONTEXT, traceId);
    return { sampled: decision === SamplingDecision.RECORD_AND_SAMPLED, traceId };
  };
}
