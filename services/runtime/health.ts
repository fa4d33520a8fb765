import type { Logger } from 'pino';

/** How often a service checks whether it can serve: load balancers seldom probe more often. */
export const HEALTH_INTERVAL_MS = 2000;
/** How long it waits for the answer. */
export const HEALTH_TIMEOUT_MS = 2000;

/** Checks periodically whether a service can serve, until it is stopped. */
export interface HealthMonitor {
  /** Checks now. @returns whether the service serves */
  probe(): Promise<boolean>;
  stop(): void;
}

/**
 * Keeps the health status of a server up to date: not serving while the check fails, serving while it succeeds. Each
 * change is logged once.
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
}): HealthMonitor {
  const { check, setServing, log, intervalMs = HEALTH_INTERVAL_MS, timeoutMs = HEALTH_TIMEOUT_MS } = options;
  let serving: boolean | undefined;
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;

  const settle = (now: boolean, error?: unknown): boolean => {
    if (stopped) return false;
    if (now !== serving) {
      setServing(now);
      if (now) log.info('serving');
      else log.error({ err: error }, 'not serving: the store does not answer');
    }
    serving = now;
    timer = setTimeout(() => void probe(), intervalMs);
    timer.unref();
    return now;
  };

  const probe = async (): Promise<boolean> => {
    clearTimeout(timer);
    const signal = AbortSignal.timeout(timeoutMs);
    try {
      await Promise.race([check({ signal }), rejection(signal)]);
    } catch (error) {
      return settle(false, error);
    }
    return settle(true);
  };

  return {
    probe,
    stop: () => {
      stopped = true;
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
