import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of the project. */
export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** Where what is fetched for tests is kept. */
export function cacheFolder(): string {
  const { SCALINGNOTE_CACHE, XDG_CACHE_HOME } = process.env;
  return SCALINGNOTE_CACHE ?? join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'scalingnote');
}

/** A package of `package-lock.json`. */
export interface LockedPackage {
  version?: string;
  license?: string;
  /** Only for development. */
  dev?: boolean;
  /** A workspace. */
  link?: boolean;
  hasInstallScript?: boolean;
}

/** `package-lock.json`: packages by their folder. */
export interface Lock {
  packages: Record<string, LockedPackage>;
}

/** `package.json`, as far as it says what may run. */
export interface Manifest {
  allowScripts: Record<string, boolean>;
}

export function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(`${ROOT}${path}`, 'utf8')) as T;
}

/** A package with the name that it is imported by. */
export interface Named extends LockedPackage {
  name: string;
}

/** What is installed from a registry. */
export function installed({ packages }: Lock): Named[] {
  return Object.entries(packages).flatMap(([folder, locked]) => {
    const name = folder.split('node_modules/').at(-1)!;
    return folder.includes('node_modules/') && locked.link !== true ? [{ ...locked, name }] : [];
  });
}
