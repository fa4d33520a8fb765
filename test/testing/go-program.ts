import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { defaultCacheDir } from '../../towers/cache.ts';

/** Time for a module to come and to be compiled, the first time. */
const INSTALL_LIMIT_MS = 10 * 60_000;

/** A program of a Go module, at one version. */
export interface GoProgram {
  module: string;
  version: string;
  /** The package of the program, below the module. @default the module itself */
  package?: string;
}

/** Where it is, with the sources of its module; or why it can't be had. */
export type BuiltGoProgram = { path: string; sources: string; skip: false } | { skip: string };

/** Calls by what reflection says, for `test/grpcurl.test.ts`. */
export const GRPCURL: GoProgram = {
  module: 'github.com/fullstorydev/grpcurl',
  version: 'v1.9.3',
  package: 'cmd/grpcurl',
};

/** Where a program is, once it is built. */
export function programOf({ module, version, package: below }: GoProgram): string {
  return join(defaultCacheDir(), 'go', basename(module), version, basename(below ?? module));
}

/** Builds a program of a Go module into the cache, where it is not there. It needs Go, and the proxy of its modules. */
export function buildGoProgram(program: GoProgram): BuiltGoProgram {
  const { module, version } = program;
  const at = program.package === undefined ? module : `${module}/${program.package}`;
  const path = programOf(program);
  const folder = dirname(path);
  try {
    const { Dir } = JSON.parse(go(folder, ['mod', 'download', '-json', `${module}@${version}`])) as {
      Dir: string;
    };
    if (!existsSync(path)) {
      mkdirSync(folder, { recursive: true });
      go(folder, ['install', `${at}@${version}`]);
    }
    return { path, sources: Dir, skip: false };
  } catch (error) {
    const { code, stderr, message } = error as { code?: string; stderr?: string; message: string };
    const why = code === 'ENOENT' ? 'there is no Go' : (stderr || message).trim().split('\n').at(-1);
    return { skip: `${basename(at)} can't be built: ${why}` };
  }
}

function go(bin: string, args: readonly string[]): string {
  return execFileSync('go', args, {
    cwd: '/',
    env: { ...process.env, GOBIN: bin },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: INSTALL_LIMIT_MS,
  });
}
