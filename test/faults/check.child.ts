import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathsOf } from '../simulate/sometimes.ts';
import { judge } from './judge.ts';
import { readJournal } from './journal.ts';
import type { RunPlan } from './plan.ts';

// Judges what the processes of a run have left in its folder, and prints the verdict.
const [folder = ''] = process.argv.slice(2);
const { clients } = JSON.parse(readFileSync(join(folder, 'plan.json'), 'utf8')) as RunPlan;
const events = readdirSync(folder)
  .filter((name) => name.endsWith('.jsonl'))
  .flatMap((name) => readJournal(join(folder, name)))
  .sort((a, b) => a.at - b.at);
const history = { clients, events };
console.log(JSON.stringify({ ...judge(history), sometimes: pathsOf(history, {}) }));
