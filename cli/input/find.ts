import { resolve } from 'node:path';
import { glob, isDynamicPattern } from 'tinyglobby';
import { CliError, UsageError } from '../output/print.ts';
import { kindOf, STANDARD_INPUT } from './input.ts';

/**
 * The files that the arguments of the command line name, in the order of the arguments: a file, every file in a folder
 * and its folders, or every file that a glob matches, sorted by path. Names that begin with a dot are left out, as a
 * shell leaves them out, unless they are named. A file that is named twice is there once.
 *
 * @throws {CliError} where an argument names nothing
 */
export async function findFiles(args: readonly string[]): Promise<string[]> {
  const found = new Map<string, string>();
  for (const arg of args) {
    if (arg === STANDARD_INPUT && found.has(arg)) throw new UsageError('"-" stands there twice');
    for (const path of await filesOf(arg)) {
      const key = path === STANDARD_INPUT ? path : resolve(path);
      if (!found.has(key)) found.set(key, path);
    }
  }
  return [...found.values()];
}

async function filesOf(arg: string): Promise<string[]> {
  if (arg === STANDARD_INPUT) return [arg];
  const kind = await kindOf(arg);
  if (kind === 'file') return [arg];
  if (kind === 'folder') {
    const folder = arg.replace(/\/+$/, '');
    const inside = await glob('**', { cwd: arg, onlyFiles: true });
    if (inside.length === 0) throw new CliError(`there are no files in ${arg}`);
    return sorted(
      inside.map((path) => (arg.startsWith('/') && folder === '' ? `/${path}` : `${folder}/${path}`)),
    );
  }
  if (!isDynamicPattern(arg)) throw new CliError(`there is no file ${arg}`);
  const matches = await glob(arg, { onlyFiles: true });
  if (matches.length === 0) throw new CliError(`no file matches ${arg}`);
  return sorted(matches);
}

/** By code unit: the same order on every machine, because a place in it is kept for `--resume`. */
function sorted(paths: string[]): string[] {
  return paths.sort((one, other) => (one < other ? -1 : Number(one > other)));
}
