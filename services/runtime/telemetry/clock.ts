import type { HrTime, TimeInput } from '@opentelemetry/api';

/**
 * Spans are timed by `performance.now()`, which runs evenly, and exported in the time of day, which other machines share
 * and which is set now and then. Between the two is an offset. It is corrected when it is off by more than a call between
 * two processes of one machine takes.
 */
const TOLERATED_DRIFT_MS = 5;
let offset = performance.timeOrigin;

/** A time as OpenTelemetry has it: seconds and nanoseconds. @param time - as of `performance.now()` */
export function toHrTime(time: number): HrTime {
  const ms = offset + time;
  const seconds = Math.floor(ms / 1000);
  return [seconds, Math.round((ms - seconds * 1000) * 1e6)];
}

/** Corrects the offset if somebody has set the clock. */
export function followClock(): void {
  const drift = Date.now() - (offset + performance.now());
  if (Math.abs(drift) > TOLERATED_DRIFT_MS) offset += drift;
}

/** A time of OpenTelemetry's API, as of `performance.now()`. */
export function toPerformanceTime(time: TimeInput): number {
  if (typeof time === 'number') return time < performance.timeOrigin ? time : time - offset;
  const ms = time instanceof Date ? time.getTime() : time[0] * 1000 + time[1] / 1e6;
  return ms - offset;
}
