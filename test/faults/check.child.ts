import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Counts, pathsOf } from '../simulate/sometimes.ts';
import { judge, type Verdict } from './judge.ts';
import { readJournal } from './journal.ts';
import type { RunPlan } from './plan.ts';

// Judges what the processes of runs have left in their folders.
process.on('message', (folder) => {
  process.send!(check(String(folder)));
});

function check(folder: string): Verdict & { sometimes: Counts } {
  const { clients } = JSON.parse(readFileSync(join(folder, 'plan.json'), 'utf8')) as RunPlan;
  const events = readdirSync(folder)
    .filter((name) => name.endsWith('.jsonl'))
    .flatMap((name) => readJournal(join(folder, name)))
    .sort((a, b) => a.at - b.at);
  const history = { clients, events };
  return { ...judge(history), sometimes: pathsOf(history, {}) };
}
