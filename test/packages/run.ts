import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { CONSUMERS } from './consumers.ts';
import { Ground, installNode, type Runtime } from './ground.ts';
import { startPair } from './pair.ts';
import { MissingError } from './project.ts';
import { pack } from './sources.ts';

/**
 * `npm run test:packages -- [--only NAME]... [--json]`: packs the client packages as npm would publish them, installs them
 * into empty projects of every kind that they promise to work in, and runs them there against real services.
 */
const { values } = parseArgs({
  options: { only: { type: 'string', multiple: true }, json: { type: 'boolean', default: false } },
});

/** Versions of Node that every program runs on, from npm. */
const NODES = ['20.20.2', '22.23.3', '24.21.0'];

/** What became of a consumer. */
interface Outcome {
  consumer: string;
  result: 'passed' | 'failed' | 'skipped';
  /** What was tried, or why not, or what went wrong. */
  what: string;
  /** The line that installs what is missing. */
  install?: string;
  seconds: number;
}

const wanted = CONSUMERS.filter(({ name }) => values.only?.includes(name) ?? true);
const unknown = values.only?.find((name) => !CONSUMERS.some((each) => each.name === name));
if (unknown !== undefined) {
  console.error(`--only ${unknown}: there is ${CONSUMERS.map(({ name }) => name).join(', ')}`);
  process.exit(2);
}

const folder = mkdtempSync(join(tmpdir(), 'scalingnote-packages-'));
const outcomes: Outcome[] = [];

/** Tries one thing and says what became of it. */
async function attempt(consumer: string, run: () => Promise<string>): Promise<void> {
  const started = performance.now();
  const found = await run().then(
    (what) => ({ result: 'passed' as const, what }),
    (error: unknown) =>
      error instanceof MissingError
        ? { result: 'skipped' as const, what: error.message, install: error.install }
        : { result: 'failed' as const, what: (error as Error).message },
  );
  const outcome = { consumer, ...found, seconds: Math.round((performance.now() - started) / 100) / 10 };
  outcomes.push(outcome);
  if (values.json) return;
  const install = 'install' in found ? `; ${found.install}` : '';
  console.log(`${found.result}  ${consumer.padEnd(12)} ${found.what}${install} (${outcome.seconds} s)`);
}

const pair = await startPair(folder);
try {
  const nodes: Runtime[] = [];
  for (const version of wanted.some(({ onNodes }) => onNodes) ? NODES : []) {
    await attempt(`node-${version.split('.')[0]}`, async () => {
      const node = await installNode(folder, version);
      nodes.push(node);
      return node.name;
    });
  }
  if (nodes.length === 0) nodes.push({ name: `Node ${process.versions.node}`, command: process.execPath });
  const ground = new Ground(folder, await pack(folder), pair, nodes);
  for (const consumer of wanted) await attempt(consumer.name, () => consumer.try(ground));
} finally {
  await pair.stop();
  rmSync(folder, { recursive: true, force: true });
}

const failed = outcomes.filter(({ result }) => result === 'failed').length;
if (values.json) console.log(JSON.stringify({ outcomes, failed }, undefined, 2));
process.exitCode = failed === 0 ? 0 : 1;
