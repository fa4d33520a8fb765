import type { Violation } from '../faults/judge.ts';
import { simulate, type SimulateOptions } from './simulate.ts';
import type { Counts } from './sometimes.ts';

/** Seeds to simulate: from one up to another, which is left out. */
export interface Batch {
  from: number;
  to: number;
  /** Print what happened. */
  showsHistory: boolean;
  options: SimulateOptions;
}

/** What came of them. */
export interface Summed {
  histories: number;
  operations: number;
  acknowledged: number;
  reads: number;
  sometimes: Counts;
  failures: { seed: number; violations: Violation[] }[];
}

process.on('message', (message) => {
  void work(message as Batch).then((summed) => process.send!(summed));
});

async function work({ from, to, showsHistory, options }: Batch): Promise<Summed> {
  const summed: Summed = {
    histories: 0,
    operations: 0,
    acknowledged: 0,
    reads: 0,
    sometimes: {},
    failures: [],
  };
  for (let seed = from; seed < to; seed++) {
    const { history, verdict, counts } = await simulate(seed, options);
    if (showsHistory) {
      for (const { client, tenant, operations } of history.clients) {
        for (const operation of operations)
          console.log(JSON.stringify({ plan: client, tenant, ...operation }));
      }
      for (const event of history.events) console.log(JSON.stringify(event));
    }
    summed.histories++;
    summed.operations += verdict.operations;
    summed.acknowledged += verdict.acknowledged;
    summed.reads += verdict.reads;
    for (const [what, count] of Object.entries(counts)) {
      summed.sometimes[what] = (summed.sometimes[what] ?? 0) + count;
    }
    if (verdict.violations.length > 0) summed.failures.push({ seed, violations: verdict.violations });
  }
  return summed;
}
