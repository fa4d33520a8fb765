import type { HrTime, TimeInput } from '@opentelemetry/api';

/**
 * Spans are timed by `performance.now()`, which is even, and told in the time of day, which other machines share and
 * which is set now and then. Between the two is an offset that is looked at again where it may have moved by more than
 * a call between two processes of one machine takes.
 */
const TOLERATED_DRIFT_MS = 5;
let offset = performance.timeOrigin;

/** As OpenTelemetry has times: seconds and nanoseconds. @param time as of `performance.now()` */
export function toHrTime(time: number): HrTime {
  const ms = offset + time;
  const seconds = Math.floor(ms / 1000);
  return [seconds, Math.round((ms - seconds * 1000) * 1e6)];
}

/** Heeds that somebody set the clock. */
export function followClock(): void {
  const drift = Date.now() - (offset + performance.now());
  if (Math.abs(drift) > TOLERATED_DRIFT_MS) offset += drift;
}

/** A moment as OpenTelemetry's interface takes it, as of `performance.now()`. */
export function toPerformanceTime(time: TimeInput): number {
  if (typeof time === 'number') return time < performance.timeOrigin ? time : time - offset;
  const ms = time instanceof Date ? time.getTime() : time[0] * 1000 + time[1] / 1e6;
  return ms - offset;
}
