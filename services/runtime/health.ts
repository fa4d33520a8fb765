import type { Logger } from 'pino';
import { StoreError, type StoreErrorReason } from '../../store/errors.ts';
import { TowerError } from '../../towers/errors.ts';

/** How often a service checks whether it can serve: load balancers seldom probe more often. */
export const HEALTH_INTERVAL_MS = 2000;
/** How long a service that does not serve waits for the answer. */
export const HEALTH_TIMEOUT_MS = 2000;
/** How long one that serves does: a long operation may hold the store for seconds. */
export const HEALTH_PATIENCE_MS = 10_000;
/** Least time between two checks that failed calls ask for. */
const SUSPICION_MS = 100;

/** Checks periodically whether a service can serve, until it is stopped. */
export interface HealthMonitor {
  /** Why the service does not serve, in words; empty while it does. */
  readonly reason: string;
  /** Checks now. @returns whether the service serves */
  probe(): Promise<boolean>;
  /** Hears of a call of the store that was answered. */
  answered(): void;
  /** Hears of a call of the store that failed. */
  failed(error: unknown): void;
  stop(): void;
}

/** Failures of a store that has too much to do, or is away: which of the two, the calls of others show. */
const MAYBE_BUSY: ReadonlySet<StoreErrorReason> = new Set(['STORE_UNAVAILABLE', 'STORE_OVERLOADED']);

/**
 * Keeps the health status of a server up to date: not serving while the check fails, serving while it succeeds. Each
 * change is logged once.
 *
 * A store that is busy is not broken. A check that ran out of time, or whose store is unavailable or overloaded, changes
 * nothing where other calls of the store were answered since it began. Every other failure counts, whoever is answered:
 * the files are gone, our credentials are refused.
 */
export function monitorHealth(options: {
  /** Resolves when all that the service needs is there. */
  check: (options: { signal: AbortSignal }) => Promise<void>;
  setServing: (serving: boolean) => void;
  log: Logger;
  /** @default {@link HEALTH_INTERVAL_MS} */
  intervalMs?: number;
  /** @default {@link HEALTH_TIMEOUT_MS} */
  timeoutMs?: number;
  /** @default {@link HEALTH_PATIENCE_MS} */
  patienceMs?: number;
}): HealthMonitor {
  const { check, setServing, log, intervalMs = HEALTH_INTERVAL_MS } = options;
  const { timeoutMs = HEALTH_TIMEOUT_MS, patienceMs = HEALTH_PATIENCE_MS } = options;
  let serving: boolean | undefined;
  let reason = 'it has not asked the store yet';
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  let probing: Promise<boolean> | undefined;
  let probedAt = -Infinity;
  let answers = 0;

  const settle = (failure?: { error: unknown; reason: string }): boolean => {
    probing = undefined;
    if (stopped) return false;
    const now = failure === undefined;
    reason = failure?.reason ?? '';
    if (now !== serving) {
      setServing(now);
      if (failure) log.error({ err: failure.error }, `not serving: ${reason}`);
      else log.info('serving');
    }
    serving = now;
    probedAt = performance.now();
    timer = setTimeout(() => void probe(), intervalMs);
    timer.unref();
    return now;
  };

  const ask = async (): Promise<boolean> => {
    clearTimeout(timer);
    const answersBefore = answers;
    const limitMs = serving === true ? patienceMs : timeoutMs;
    const signal = AbortSignal.timeout(limitMs);
    try {
      await Promise.race([check({ signal }), rejection(signal)]);
    } catch (error) {
      if (answers > answersBefore && mayBeBusy(error)) return settle();
      return settle({ error, reason: reasonOf(error, limitMs) });
    }
    return settle();
  };

  const probe = (): Promise<boolean> => (probing ??= ask());

  return {
    get reason() {
      return reason;
    },
    probe,
    answered: () => void answers++,
    failed: (error) => {
      const isLost = error instanceof StoreError && error.reason === 'STORE_LOST';
      if (!isLost || serving !== true || stopped || performance.now() - probedAt < SUSPICION_MS) return;
      void probe();
    },
    stop: () => {
      stopped = true;
      reason = 'it is shutting down';
      clearTimeout(timer);
    },
  };
}

/** A check that hangs and ignores its signal has failed too. */
function rejection(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
}

function mayBeBusy(error: unknown): boolean {
  return error instanceof StoreError ? MAYBE_BUSY.has(error.reason) : isTimeout(error);
}

function isTimeout(error: unknown): boolean {
  return error instanceof Error && error.name === 'TimeoutError';
}

/** Who asks may be anybody: what nobody foresaw stays in the log. */
function reasonOf(error: unknown, limitMs: number): string {
  if (error instanceof StoreError || error instanceof TowerError) return error.message;
  if (isTimeout(error)) return `the store has not answered for ${limitMs / 1000} s`;
  return 'the check of the store failed; the log of the service has the cause';
}
