// Runs the conformance suite of Connect, gRPC and gRPC-Web (https://github.com/connectrpc/conformance) against our port.
// Its runner is a Go module; where Go or its proxy is not there, one line says so. `npm run conformance`.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { defaultCacheDir } from '../../towers/cache.ts';

const MODULE = 'connectrpc.com/conformance';
const VERSION = 'v1.0.7';
/** Time for the module to come and to be compiled, the first time. */
const INSTALL_LIMIT_MS = 10 * 60_000;
/** Time for the suite: one call that never ends would hold the runner for ever. */
const SUITE_LIMIT_MS = 5 * 60_000;

const root = fileURLToPath(new URL('../../../', import.meta.url));
const here = join(root, 'test', 'conformance');
const folder = join(defaultCacheDir(), 'conformance', VERSION);
const runner = join(folder, 'connectconformance');

const protos = prepare();
if (protos === undefined) process.exit(0);
const descriptors = join(folder, 'suite.binpb');
execFileSync('npx', ['buf', 'build', protos, '-o', descriptors, '--as-file-descriptor-set'], {
  cwd: root,
  stdio: 'inherit',
});
const failing = join(here, 'known-failing.txt');
const { status, signal } = spawnSync(
  runner,
  [
    '--mode',
    'server',
    '--conf',
    join(here, 'server.yaml'),
    '--known-failing',
    `@${failing}`,
    // Servers that start beside the runner's clients are too slow for it on two cores.
    '--parallel',
    '4',
    '--max-servers',
    '1',
    ...process.argv.slice(2),
    '--',
    process.execPath,
    fileURLToPath(new URL('server.js', import.meta.url)),
    protos,
    descriptors,
  ],
  { stdio: 'inherit', timeout: SUITE_LIMIT_MS },
);
if (signal) process.stderr.write(`conformance: no end after ${SUITE_LIMIT_MS / 1000} s\n`);
const explained = readFileSync(failing, 'utf8')
  .split('\n')
  .filter((line) => /^[^#\s]/.test(line));
process.stdout.write(`conformance: ${MODULE} ${VERSION}, known failing: ${explained.length}\n`);
process.exit(status ?? 1);

/** Builds the runner where it is not there. @returns the folder with the suite's protos */
function prepare(): string | undefined {
  try {
    const found = go(['mod', 'download', '-json', `${MODULE}@${VERSION}`]);
    const { Dir } = JSON.parse(found) as { Dir: string };
    if (!existsSync(runner)) {
      mkdirSync(folder, { recursive: true });
      go(['install', `${MODULE}/cmd/connectconformance@${VERSION}`]);
    }
    return join(Dir, 'proto');
  } catch (error) {
    const { code, stderr, message } = error as { code?: string; stderr?: string; message: string };
    const why = code === 'ENOENT' ? 'there is no Go' : (stderr ?? message).trim().split('\n').at(-1);
    process.stdout.write(`conformance: skipped, the runner can't be built: ${why}\n`);
    return undefined;
  }
}

function go(args: readonly string[]): string {
  const env = { ...process.env, GOBIN: folder };
  return execFileSync('go', args, {
    cwd: root,
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: INSTALL_LIMIT_MS,
  });
}
