import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before } from 'node:test';
import { fileURLToPath } from 'node:url';
import { SAMPLE_COLLECTION } from '../cli/sample/wordnet.ts';
import { openStore } from '../store/open.ts';

/**
 * The system as people use it: the command line, both services as processes, the real towers and the real store. The
 * document tower comes from the npm registry, or from the cache where it has been fetched before.
 *
 * Importing this gives a test file a folder of its own, and ends whatever it has started.
 */

const CLI = fileURLToPath(new URL('../cli/main.js', import.meta.url));

/** Removed after the tests. */
export const folder = mkdtempSync(join(tmpdir(), 'scalingnote-e2e-'));
/** Fields of the documents in `clients/behaviour/cases.json`. */
const INDEXED_FIELDS = 'place:keyword,bird:bool,legs:integer';
const environment = {
  ...process.env,
  XDG_STATE_HOME: join(folder, 'state'),
  NO_COLOR: '1',
  SCALINGNOTE_INDEXED_FIELDS: INDEXED_FIELDS,
};
const running = new Set<ChildProcess>();
let missing: string | undefined;

/** The store of the services that are started here, where it is not a folder of their own: a Qdrant server. */
const shared =
  process.env['SCALINGNOTE_STORE'] === 'qdrant'
    ? await openStore({ kind: 'qdrant', url: process.env['QDRANT_URL'] ?? 'http://127.0.0.1:6333' })
    : undefined;
/** What was there before: not ours to drop. */
const theirs = new Set<string>();

before(async () => {
  for (const { name, physicalName } of (await shared?.listCollections()) ?? []) {
    if (name === SAMPLE_COLLECTION) {
      throw new Error(`the server at QDRANT_URL has a collection "${name}" already; use a scratch server`);
    }
    theirs.add(physicalName);
  }
  const pulled = await cli('towers', 'pull', 'all-MiniLM-L6-v2');
  if (pulled.code !== 0) missing = `the document tower can't be had here: ${pulled.stderr}`;
});

after(async () => {
  await Promise.all([...running].map(stop));
  for (const { physicalName } of (await shared?.listCollections()) ?? []) {
    if (!theirs.has(physicalName)) await shared!.dropCollection(physicalName);
  }
  await shared?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Why tests that need the document tower can't run; `undefined` where they can. */
export function unavailable(): string | undefined {
  return missing;
}

/** How a command ended. */
export interface Result {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Both services, as `scalingnote up` runs them. */
export interface Pair {
  process: ChildProcess;
  addresses: { document: string; query: string };
  documents: { sent: number; indexed: number; unchanged: number; rejected: number };
}

/** The ports that a pair listens at, so that its successor can take its place. */
export function portsOf({ addresses }: Pair): { document: string; query: string } {
  const port = (address: string): string => address.slice(address.lastIndexOf(':') + 1);
  return { document: port(addresses.document), query: port(addresses.query) };
}

/** Flags of `up` with a store of that name. @param ports any free ones by default */
export function upFlags(
  name: string,
  documents: number,
  ports: { document: string; query: string } = { document: '0', query: '0' },
): string[] {
  const where = [
    '--data',
    join(folder, name),
    '--document-port',
    ports.document,
    '--query-port',
    ports.query,
    '--console-port',
    '0',
  ];
  return ['up', ...where, '--documents', String(documents)];
}

/** Starts the pair and waits until it has shown its searches. */
export async function up(name: string, ports?: { document: string; query: string }): Promise<Pair> {
  const child = start(...upFlags(name, 20, ports), '--json');
  let stdout = '';
  let stderr = '';
  child.stderr!.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  for await (const chunk of child.stdout!) {
    stdout += String(chunk);
    if (!stdout.endsWith('\n}\n')) continue;
    return { process: child, ...(JSON.parse(stdout) as Omit<Pair, 'process'>) };
  }
  throw new Error(`up ended early: ${stderr}`);
}

/** Flags that lead a command to a pair. */
export function addresses(
  pair: Pick<Pair, 'addresses'>,
  ...which: readonly ('document' | 'query')[]
): string[] {
  const services = which.length === 0 ? (['document', 'query'] as const) : which;
  return services.flatMap((service) => [`--${service}-address`, pair.addresses[service]]);
}

/** Process ids of a pair's services. */
export async function pidsOf(pair: Pair): Promise<{ document: number; query: number }> {
  const status = await cli('status', '--json', ...addresses(pair));
  assert.equal(status.code, 0, status.stderr);
  const { services } = JSON.parse(status.stdout) as { services: { service: string; pid: number }[] };
  const pid = (name: string): number => services.find(({ service }) => service === name)!.pid;
  return { document: pid('document'), query: pid('query') };
}

/** Starts a command. */
export function start(...parameters: string[]): ChildProcess {
  const child = spawn(process.execPath, [CLI, ...parameters], {
    env: environment,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  child.once('exit', () => running.delete(child));
  return child;
}

/** Runs a command to its end. */
export function cli(...parameters: string[]): Promise<Result> {
  return ended(start(...parameters));
}

/** Waits for the end of a command that was just started. */
export async function ended(child: ChildProcess): Promise<Result> {
  const result: Result = { code: null, stdout: '', stderr: '' };
  child.stdout!.on('data', (chunk: Buffer) => (result.stdout += chunk.toString()));
  child.stderr!.on('data', (chunk: Buffer) => (result.stderr += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  return { ...result, code };
}

/** Asks a command to end, and waits for it. */
export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await exited;
}
