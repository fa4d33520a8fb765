// Runs h2spec (https://github.com/summerwind/h2spec), which sends frames that HTTP/2 allows and forbids, against our
// port: in plain text, over TLS, and against a bare server of node:http2, which shows what is node's own and what is ours.
// `npm run h2spec [-- --json]`. It fails where the cases that do not pass are others than those of `known-failing.txt`.
// It is a Go module; where Go or its proxy is not there, one line says so.
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildGoProgram } from '../testing/go-program.ts';
import { failuresIn, judge, knownFailing, type Outcome, type Target } from './judge.ts';
import { startTargets, PATH } from './targets.ts';

/** The last version that the proxy of Go has. */
const H2SPEC = {
  module: 'github.com/summerwind/h2spec',
  version: 'v2.2.1+incompatible',
  package: 'cmd/h2spec',
};
/** Seconds to wait for an answer: longer than two busy cores need for one. Cases that expect one and get none take it. */
const ANSWER_LIMIT_S = 4;
/** Time for all cases against one server. */
const RUN_LIMIT_MS = 3 * 60_000;

const here = fileURLToPath(new URL('../../../test/h2spec/', import.meta.url));
const h2spec = buildGoProgram(H2SPEC);
if (h2spec.skip !== false) {
  process.stdout.write(`h2spec: skipped, ${h2spec.skip}\n`);
  process.exit(0);
}
const program = h2spec.path;
const folder = mkdtempSync(join(tmpdir(), 'scalingnote-h2spec-'));
const targets = await startTargets(folder);
try {
  const outcomes = await Promise.all(targets.servers.map(({ name, port }) => outcomeOf(name, port)));
  const known = knownFailing(readFileSync(join(here, 'known-failing.txt'), 'utf8'));
  const verdict = judge(outcomes, known);
  if (process.argv.includes('--json')) process.stdout.write(`${JSON.stringify({ ...verdict, outcomes })}\n`);
  else {
    for (const line of verdict.complaints) process.stdout.write(`${line}\n`);
    for (const { target, cases, notPassed } of outcomes) {
      process.stdout.write(`h2spec: ${target}: ${cases} cases, ${cases - notPassed.length} passed\n`);
    }
    process.stdout.write(`h2spec: ${H2SPEC.version}, known failing: ${known.length}\n`);
  }
  process.exitCode = verdict.complaints.length === 0 ? 0 : 1;
} finally {
  await targets.stop();
  rmSync(folder, { recursive: true });
}

async function outcomeOf(target: Target, port: number): Promise<Outcome> {
  const report = join(folder, `${target}.xml`);
  const secure = target === 'tls' ? ['--tls', '--insecure'] : [];
  const parameters = ['--strict', '-p', String(port), '-P', PATH, '-o', String(ANSWER_LIMIT_S)];
  // It ends with an error where a case fails; what it found is in its report.
  const said = await new Promise<string>((resolve) =>
    execFile(
      program,
      [...parameters, ...secure, '-j', report],
      { timeout: RUN_LIMIT_MS, maxBuffer: 64 * 1024 * 1024 },
      (_, stdout, stderr) => resolve(stdout + stderr),
    ),
  );
  try {
    return { target, ...failuresIn(readFileSync(report, 'latin1')) };
  } catch (error) {
    throw new Error(`h2spec wrote no report of ${target}: ${said.slice(-2000)}`, { cause: error });
  }
}
