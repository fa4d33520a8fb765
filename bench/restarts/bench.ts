import { setTimeout as sleep } from 'node:timers/promises';
import { QueryClient } from '../../clients/index.ts';
import { type Outcome, searchWhile, Site } from '../../test/testing/load.ts';
import { type Bench, type Comparison, percentile } from '../report.ts';

/** Searches a second, over both services. */
const RATE = Number(process.env['BENCH_RATE'] ?? 200);
const BEFORE_MS = 3000;
/** What counts as recovery: calls that began in this time after the signal. */
const RECOVERY_MS = 3000;
const GOAL_MS = 1000;

/** What happens to one of two services, or to the only one. */
const EVENTS = [
  { what: 'SIGTERM of one of two', signal: 'SIGTERM', services: 2 },
  { what: 'SIGKILL of one of two', signal: 'SIGKILL', services: 2 },
  { what: 'SIGSTOP of one of two', signal: 'SIGSTOP', services: 2 },
  { what: 'SIGTERM and restart of the only one', signal: 'SIGTERM', services: 1, restart: 1 },
  {
    what: 'SIGTERM and restart of both of two, one after the other',
    signal: 'SIGTERM',
    services: 2,
    restart: 2,
  },
] as const satisfies readonly Event[];

interface Event {
  what: string;
  signal: NodeJS.Signals;
  services: number;
  /** How many of them come back, one after the other. @default none */
  restart?: number;
}

/** How long searches take while a query service goes, and before. */
export const bench: Bench = {
  run: async (progress) => {
    const comparisons: Comparison[] = [];
    const notes: string[] = [];
    const site = new Site();
    try {
      await site.fill();
      for (const event of EVENTS) {
        progress(event.what);
        const { before, after } = await measure(site, event);
        const [ours, peer] = [percentile(after.map(took), 0.99), percentile(before.map(took), 0.99)];
        comparisons.push({
          what: `${event.what}: p99 of a search in the ${RECOVERY_MS / 1000} s after, and before`,
          unit: 'ms',
          ours,
          peer,
          ratio: ours / peer,
          ...(event.services === 2 && {
            goal: { text: `at most ${GOAL_MS} ms`, met: ours <= GOAL_MS },
          }),
        });
        const failures = [...before, ...after].filter(({ error }) => error);
        const slowest = Math.round(Math.max(...after.map(took)));
        notes.push(
          `${event.what}: ${failures.length} of ${before.length + after.length} calls failed; ` +
            `the slowest took ${slowest} ms${failures[0] ? `; ${failures[0].error?.message}` : ''}`,
        );
      }
    } finally {
      await site.close();
    }
    return { parameters: { searchesPerSecond: RATE, timeoutMs: 10_000 }, comparisons, notes };
  },
};

function took({ ms }: Outcome): number {
  return ms;
}

async function measure(
  site: Site,
  { signal, services, restart = 0 }: Event,
): Promise<{ before: Outcome[]; after: Outcome[] }> {
  const started = await Promise.all(Array.from({ length: services }, () => site.query()));
  const [victim] = started as [(typeof started)[number]];
  await using client = new QueryClient({ addresses: started.map(({ address }) => address) });
  for (let warm = 0; warm < 200; warm++) await client.search({ collection: Site.collection, query: 'x' });
  let signalAt = 0;
  const outcomes = await searchWhile(client, RATE, async (elapsed) => {
    await sleep(BEFORE_MS);
    signalAt = elapsed();
    if (restart === 0) victim.child.kill(signal);
    for (const { address, stop } of started.slice(0, restart)) {
      await stop(signal);
      const { child } = await site.query(address);
      // The next one goes when this one takes calls.
      while ((await client.describe()).pid !== child.pid) await sleep(10);
    }
    await sleep(RECOVERY_MS);
  });
  await site.stop();
  return {
    before: outcomes.filter(({ at }) => at < signalAt),
    after: outcomes.filter(({ at }) => at >= signalAt),
  };
}
