// Runs the conformance suite of Connect, gRPC and gRPC-Web (https://github.com/connectrpc/conformance) against our port.
// Its runner is a Go module; where Go or its proxy is not there, one line says so. `npm run conformance`.
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildGoProgram } from '../testing/go-program.ts';

const SUITE = {
  module: 'connectrpc.com/conformance',
  version: 'v1.0.7',
  package: 'cmd/connectconformance',
};
/** Time for the suite: one call that never ends would hold the runner for ever. */
const SUITE_LIMIT_MS = 5 * 60_000;

const root = fileURLToPath(new URL('../../../', import.meta.url));
const here = join(root, 'test', 'conformance');
const runner = buildGoProgram(SUITE);
if (runner.skip !== false) {
  process.stdout.write(`conformance: skipped, ${runner.skip}\n`);
  process.exit(0);
}
const protos = join(runner.sources, 'proto');
const descriptors = join(dirname(runner.path), 'suite.binpb');
execFileSync('npx', ['buf', 'build', protos, '-o', descriptors, '--as-file-descriptor-set'], {
  cwd: root,
  stdio: 'inherit',
});
const failing = join(here, 'known-failing.txt');
const { status, signal } = spawnSync(
  runner.path,
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
process.stdout.write(`conformance: ${SUITE.module} ${SUITE.version}, known failing: ${explained.length}\n`);
process.exit(status ?? 1);
