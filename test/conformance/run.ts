// Runs the conformance suite of Connect, gRPC and gRPC-Web (https://github.com/connectrpc/conformance) against our port
// and our clients. `npm run conformance [-- SUBJECT [--OPTION ...]]`; options go to the runner, such as
// `--run 'Basic/**' --trace`. The runner is a Go module; where Go or its proxy is not there, one line says so.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildGoProgram } from '../testing/go-program.ts';

const SUITE = {
  module: 'connectrpc.com/conformance',
  version: 'v1.0.7',
  package: 'cmd/connectconformance',
};
/**
 * What is put under the suite; what each claims stands in `SUBJECT.yaml`, and what fails in
 * `SUBJECT-known-failing.txt`, with reasons.
 */
const SUBJECTS: Readonly<Record<string, { mode: 'server' | 'client'; options: readonly string[] }>> = {
  // Servers that start beside the runner's clients are too slow for it on two cores.
  server: { mode: 'server', options: ['--parallel', '4', '--max-servers', '1'] },
  'grpc-client': { mode: 'client', options: ['--max-servers', '2'] },
  'web-client': { mode: 'client', options: [] },
};
/** Time for one of them: one call that never ends would hold the runner for ever. */
const SUITE_LIMIT_MS = 5 * 60_000;

const [first = '', ...rest] = process.argv.slice(2);
const isNamed = Object.hasOwn(SUBJECTS, first);
if (first !== '' && !isNamed && !first.startsWith('-')) {
  process.stderr.write(`conformance: ${first} is none of ${Object.keys(SUBJECTS).join(', ')}\n`);
  process.exit(2);
}
const subjects = isNamed ? [first] : Object.keys(SUBJECTS);
const options = isNamed ? rest : process.argv.slice(2);

const root = fileURLToPath(new URL('../../../', import.meta.url));
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
for (const subject of subjects) {
  process.stdout.write(`\nconformance: ${subject}, by ${SUITE.module} ${SUITE.version}\n`);
  const status = underSuite(runner.path, subject);
  if (status !== 0) process.exitCode = status;
}

/** @returns the runner's exit status, which is 0 where the cases that fail are those that are known to */
function underSuite(program: string, subject: string): number {
  const { mode, options: own } = SUBJECTS[subject]!;
  const known = ['failing', 'flaky'].flatMap((kind) => {
    const file = join(root, 'test', 'conformance', `${subject}-known-${kind}.txt`);
    return existsSync(file) ? [`--known-${kind}`, `@${file}`] : [];
  });
  const conf = join(root, 'test', 'conformance', `${subject}.yaml`);
  const script = fileURLToPath(new URL(`${mode}.js`, import.meta.url));
  const { status, signal } = spawnSync(
    program,
    ['--mode', mode, '--conf', conf, ...known, ...own, ...options].concat(
      '--',
      process.execPath,
      script,
      protos,
      descriptors,
    ),
    { stdio: 'inherit', timeout: SUITE_LIMIT_MS },
  );
  if (signal) process.stderr.write(`conformance: no end after ${SUITE_LIMIT_MS / 1000} s\n`);
  return status ?? 1;
}
