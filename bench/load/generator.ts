import { fork } from 'node:child_process';
import { once } from 'node:events';
import type { LoadPlan, LoadReport } from './load.ts';

/** Runs a load in a process of its own. */
export async function generate(plan: LoadPlan): Promise<LoadReport> {
  const child = fork(new URL('./generator.child.js', import.meta.url), {
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  child.send({ ...plan });
  const [answer] = (await Promise.race([once(child, 'message'), once(child, 'exit')])) as [
    { report: LoadReport } | { failure: string } | number | null,
  ];
  if (typeof answer !== 'object' || answer === null) throw new Error('the load generator ended early');
  if ('failure' in answer) throw new Error(answer.failure);
  return answer.report;
}
