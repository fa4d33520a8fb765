import { useEffect } from 'preact/hooks';

/** Calls a function at once and then regularly, while the component is mounted and the page visible. */
export function usePolling(look: () => Promise<void>, everyMs: number, key?: unknown): void {
  useEffect(() => {
    let timer: number | undefined;
    let stopped = false;
    const next = async (): Promise<void> => {
      clearTimeout(timer);
      if (stopped || document.hidden) return;
      await look();
      if (!stopped) timer = setTimeout(() => void next(), everyMs);
    };
    const onVisible = (): void => void next();
    document.addEventListener('visibilitychange', onVisible);
    void next();
    return () => {
      stopped = true;
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', onVisible);
    };
  }, [everyMs, key]);
}
