import { copyFile, mkdir, readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { writeManifest } from '../towers/directory.ts';
import { pullTower } from '../towers/pull.ts';
import { parseReference } from '../towers/reference.ts';
import type { RemoteFacts, RemoteReport } from '../towers/remote/make.ts';
import { describeRemote } from '../towers/remote/report.ts';
import { positive } from './input/flags.ts';
import { CliError, note, printResult, UsageError } from './output/print.ts';

/** Flags of `towers import` that belong to a model on a server. */
export interface RemoteFlags {
  name?: string;
  tokenizer?: string;
  revision?: string;
  price?: RemoteFacts['price'];
  keyEnv?: string;
  maxConcurrency?: number;
  maxBatch?: number;
  timeout?: number;
}

/** Whether a source is a model on a server. */
export function isRemote(source: string): boolean {
  return /^(?:remote|tei|remote\+tei):/.test(source);
}

/** Adds the flags of {@link RemoteFlags}. */
export function withRemoteFlags(command: Command): Command {
  return command
    .option('--name <name>', 'of a model on a server: name of the tower')
    .option('--tokenizer <dir>', 'of a model on a server: folder with its tokenizer.json')
    .option('--revision <text>', 'of a model on a server: which version it is; part of the space')
    .option('--price <amount>', 'of a model on a server: cost of a million tokens, as 0.02USD', priceFlag)
    .option(
      '--key-env <name>',
      'of a model on a server: variable that has its key, or with _FILE names a file of it',
    )
    .option('--max-concurrency <n>', 'of a model on a server: most requests at once', positive)
    .option('--max-batch <n>', 'of a model on a server: most texts in a request', positive)
    .option('--timeout <ms>', 'of a model on a server: longest time for a request', positive);
}

/** Makes a tower of a model on a server, by asking it. */
export async function importRemote(
  source: string,
  {
    out,
    json,
    facts,
    flags,
  }: { out: string | undefined; json: boolean; facts: RemoteFacts; flags: RemoteFlags },
): Promise<void> {
  parseReference(source);
  const { maxBatch, timeout, ...rest } = flags;
  let report: RemoteReport | undefined;
  const { directory, manifest } = await pullTower(source, {
    refresh: true,
    remoteFacts: { ...facts, ...rest, maxBatchInputs: maxBatch, timeoutMs: timeout },
    onRemote: (found) => (report = found),
    log: note,
  });
  const folder = out === undefined ? directory : await copyTower(directory, resolve(out), manifest);
  const { name, space } = manifest;
  printResult({ json }, { out: folder, name, space: space.fingerprint, ...report! }, () =>
    [
      ...describeRemote(report!),
      `${name} is in ${folder}, space ${space.fingerprint}`,
      `next: npx scalingnote distill --teacher file:${folder} --texts FILE --out DIR`,
    ].join('\n'),
  );
}

/** @throws {UsageError} where flags of a model on a server were given for a folder */
export function refuseRemoteFlags(flags: RemoteFlags): void {
  const given = Object.entries(flags).find(([, value]) => value !== undefined);
  if (given === undefined) return;
  const name = given[0].replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  throw new UsageError(`--${name} belongs to a model on a server (remote:http://HOST:PORT#MODEL)`);
}

async function copyTower(
  from: string,
  to: string,
  manifest: Awaited<ReturnType<typeof pullTower>>['manifest'],
): Promise<string> {
  await mkdir(to, { recursive: true });
  if ((await readdir(to)).length > 0) throw new CliError(`${to} is not empty; name a new folder with --out`);
  for (const file of Object.keys(manifest.files)) await copyFile(join(from, file), join(to, file));
  await writeManifest(to, manifest);
  return to;
}

function priceFlag(value: string): NonNullable<RemoteFacts['price']> {
  const [, amount, currency] = /^(\d+(?:\.\d+)?) ?([A-Z]{3})$/.exec(value) ?? [];
  if (amount === undefined) throw new InvalidArgumentError('Give an amount and a currency, as 0.02USD.');
  return { perMillionTokens: Number(amount), currency: currency! };
}
