import { setTimeout as sleep } from 'node:timers/promises';
import { MAX_RECEIVE_BYTES } from '../../services/query/service.ts';
import { budgetsOf } from '../../services/runtime/admission/budgets.ts';
import { load } from '../load/load.ts';
import { Ground, usageOf } from '../overload/ground.ts';
import { type Bench, BenchUsageError, type Comparison } from '../report.ts';
import { SENDS } from './sends.ts';

const SECONDS = 5;
const SAMPLE_MS = 20;
/** How long a service may take to be itself again. */
const REST_MS = 1_000;
const IDLE_FACTOR = 1.3;
/** What a service may hold for its callers: messages of gRPC, bodies of HTTP, answers. */
const BUDGET_BYTES = Object.values(budgetsOf(MAX_RECEIVE_BYTES)).reduce((sum, each) => sum + each);

/** What a query service takes in memory, whatever is sent, and whether it answers others afterwards. */
export const bench: Bench = {
  flags: { seconds: { type: 'string' }, only: { type: 'string' } },
  run: async (progress, { seconds = String(SECONDS), only = '' }) => {
    const ms = 1000 * Number(seconds);
    if (!(ms > 0)) throw new BenchUsageError(`--seconds ${seconds} is not a number above 0`);
    const sends = SENDS.filter(({ name }) => name.includes(only));
    if (sends.length === 0) throw new BenchUsageError(`--only ${only} is in none of the names`);
    const comparisons: Comparison[] = [];
    for (const { name, run } of sends) {
      const ground = new Ground();
      try {
        const { service, bodies, path } = await ground.target('encode', []);
        const port = Number(service.address.split(':')[1]);
        const pid = service.child.pid!;
        const ask = (callers: number, length: number) =>
          load({
            host: '127.0.0.1',
            port,
            path,
            bodies,
            headers: {},
            deadlineMs: 10_000,
            connections: 1,
            phases: [{ name: 'ask', ms: length, callers }],
            seed: 1,
          });
        await ask(8, 1_000);
        const idle = usageOf(pid).rssBytes;
        let most = idle;
        const sampling = setInterval(() => (most = Math.max(most, usageOf(pid).rssBytes)), SAMPLE_MS);
        const stop = new AbortController();
        const sending = run(port, stop.signal);
        await sleep(ms);
        stop.abort();
        await sending;
        clearInterval(sampling);
        await sleep(REST_MS);
        const { phases } = await ask(1, 200);
        const answers = phases[0]!.accepted.count > 0 && phases[0]!.failed.count === 0;
        const allowed = IDLE_FACTOR * idle + BUDGET_BYTES;
        const comparison = {
          what: `${name}${answers ? '' : ' (others were not answered afterwards)'}`,
          unit: 'MiB',
          ours: most / 2 ** 20,
          peer: allowed / 2 ** 20,
          ratio: most / allowed,
          goal: { text: 'at most 1.3 x idle and the budgets', met: most <= allowed && answers },
        };
        comparisons.push(comparison);
        progress(`${name}: idle ${(idle / 2 ** 20).toFixed(0)} MiB, most ${comparison.ours.toFixed(0)}`);
      } finally {
        await ground.close();
      }
    }
    return {
      parameters: { seconds: ms / 1000, budgetMiB: BUDGET_BYTES / 2 ** 20 },
      comparisons,
    };
  },
};
