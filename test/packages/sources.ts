import { execFile } from 'node:child_process';
import { cp, mkdir, readdir, stat, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { extract } from 'tar';
import type { Project } from './project.ts';

/** The repository, from `dist/test/packages`. */
export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** The compiler of this repository. */
export const TSC = join(ROOT, 'node_modules/typescript/bin/tsc');

/** The unit in which `stat` counts what a file takes. */
const BLOCK = 512;

/** Files of the packages, as npm would publish them. */
export interface Tarballs {
  client: string;
  web: string;
}

/** Packs what `npm run build` has built. @param folder - for the files */
export async function pack(folder: string): Promise<Tarballs> {
  const flags = ['--json', '--ignore-scripts', '--pack-destination', folder];
  const { stdout } = await promisify(execFile)(
    'npm',
    ['pack', ...flags, '-w', 'clients', '-w', 'clients/web'],
    {
      cwd: ROOT,
      maxBuffer: 2 ** 26,
    },
  );
  const packed = JSON.parse(stdout) as { name: string; filename: string }[];
  const file = (name: string): string => {
    const found = packed.find((each) => each.name === `@scalingnote/${name}`);
    if (found === undefined) throw new Error(`npm packs no @scalingnote/${name}`);
    return join(folder, found.filename);
  };
  return { client: file('client'), web: file('web') };
}

/** Programs of `programs/` go into a project's `src`. */
export async function copyPrograms(project: Project, ...names: string[]): Promise<void> {
  for (const name of names) await cp(join(ROOT, 'test/packages/programs', name), project.path('src', name));
}

/**
 * Puts a package into a project without a registry: what it depends on leads to what this repository has installed.
 *
 * @param others - packages, or folders of packages, of this repository
 */
export async function unpack(
  project: Project,
  tarball: string,
  name: string,
  others: readonly string[],
): Promise<void> {
  const folder = project.path('node_modules', name);
  await mkdir(folder, { recursive: true });
  await extract({ file: tarball, cwd: folder, strip: 1 });
  for (const other of others) {
    const link = project.path('node_modules', other);
    await mkdir(dirname(link), { recursive: true });
    await symlink(join(ROOT, 'node_modules', other), link);
  }
}

/** Files below a folder, with their bytes and those that they take on this disk. */
export async function filesBelow(folder: string): Promise<{ path: string; bytes: number; onDisk: number }[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
  return await Promise.all(
    paths.map(async (path) => {
      const { size, blocks } = await stat(path);
      return { path, bytes: size, onDisk: blocks * BLOCK };
    }),
  );
}
