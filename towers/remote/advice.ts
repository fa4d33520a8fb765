import type { IncomingHttpHeaders } from 'node:http';

/** A server that says "in an hour" is believed up to here; whoever waits is told so. */
export const LONGEST_ADVICE_MS = 3_600_000;

/**
 * How long a server asks us to wait: `Retry-After` (seconds or a date), `retry-after-ms`, or, where no requests or tokens
 * are left, when there are some again (`x-ratelimit-reset-*`: seconds, or durations like `1m0.5s`).
 *
 * @param needed tokens of the next request
 * @returns milliseconds; undefined where nothing is advised
 */
export function adviceOf(headers: IncomingHttpHeaders, needed = 0, now = Date.now()): number | undefined {
  const waits = [retryAfter(headers, now), ...resets(headers, needed)].filter((wait) => wait !== undefined);
  if (waits.length === 0) return undefined;
  return Math.min(LONGEST_ADVICE_MS, Math.max(0, ...waits));
}

function retryAfter(headers: IncomingHttpHeaders, now: number): number | undefined {
  const ms = Number(one(headers['retry-after-ms']) ?? Number.NaN);
  if (ms >= 0) return ms;
  const text = one(headers['retry-after'])?.trim();
  if (text === undefined || text === '') return undefined;
  const seconds = Number(text);
  if (seconds >= 0) return seconds * 1000;
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

function resets(headers: IncomingHttpHeaders, needed: number): (number | undefined)[] {
  return (['requests', 'tokens'] as const).map((kind) => {
    const left = Number(one(headers[`x-ratelimit-remaining-${kind}`]) ?? Number.NaN);
    const enough = kind === 'requests' ? 1 : Math.max(1, needed);
    if (Number.isNaN(left) || left >= enough) return undefined;
    return durationMs(one(headers[`x-ratelimit-reset-${kind}`]));
  });
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** `6m0s`, `1.5s`, `20ms`, or plain seconds. */
function durationMs(text: string | undefined): number | undefined {
  if (text === undefined || text.trim() === '') return undefined;
  const plain = Number(text);
  if (plain >= 0) return plain * 1000;
  let sum = 0;
  const rest = text.replaceAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g, (_, count: string, unit: string) => {
    sum += Number(count) * UNITS[unit]!;
    return '';
  });
  return rest.trim() === '' ? sum : undefined;
}

function one(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}
