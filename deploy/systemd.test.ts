import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { RESTARTS } from '../calls/restarts.ts';
import { Settings, variableOf } from '../services/runtime/config.ts';
import { optionalTool } from '../test/testing/optional-tool.ts';
import { pathOf, read } from './testing/telemetry-files.ts';

/** The worst exposure that `systemd-analyze security` may find, of 100. It found 17; what is not shut off at all has 96. */
const MAX_EXPOSURE = 20;

const run = promisify(execFile);
const files = readdirSync(pathOf('deploy/systemd'));
const services = files.filter((name) => name.endsWith('.service'));
const analyze = optionalTool('systemd-analyze');

/** Values of a directive, in their order. */
function values(name: string, directive: string): string[] {
  const lines = read(`deploy/systemd/${name}`).split('\n');
  return lines
    .filter((line) => line.startsWith(`${directive}=`))
    .map((line) => line.slice(directive.length + 1));
}

/** A folder with the units, which run a Node that is there. */
function units(context: TestContext, change: (text: string) => string = (text) => text): string {
  const folder = mkdtempSync(join(tmpdir(), 'scalingnote-units-'));
  context.after(() => rmSync(folder, { recursive: true }));
  for (const name of files) {
    const text = read(`deploy/systemd/${name}`).replace('/usr/bin/node', process.execPath);
    writeFileSync(join(folder, name), change(text));
  }
  return folder;
}

async function verify(folder: string): Promise<string> {
  const paths = files.map((name) => join(folder, name));
  const flags = ['verify', '--man=no', '--recursive-errors=no', ...paths];
  const { stdout, stderr } = await run(analyze.path!, flags).catch(
    (error: { stdout: string; stderr: string }) => error,
  );
  return `${stdout}${stderr}`.trim();
}

test('there are two services and a target that has both, and a console for those who enable it', () => {
  assert.deepEqual(files.sort(), [
    'scalingnote-console.service',
    'scalingnote-document.service',
    'scalingnote-query.service',
    'scalingnote.target',
  ]);
  const [, ...both] = services.sort();
  assert.deepEqual(values('scalingnote.target', 'Wants'), [both.join(' ')]);
  for (const name of services) assert.deepEqual(values(name, 'WantedBy'), ['scalingnote.target']);
});

for (const name of services) {
  describe(name, () => {
    test('runs what is there, with settings that there are', () => {
      const entry = values(name, 'ExecStart')[0]!.split('/opt/scalingnote/dist/')[1]!;
      assert.ok(existsSync(pathOf(entry.replace(/\.js$/, '.ts'))), entry);
      const known = new Set(Object.entries(Settings.shape).map(([key, setting]) => variableOf(key, setting)));
      const others = ['SCALINGNOTE_CONFIG', 'SCALINGNOTE_CACHE', 'SCALINGNOTE_CA', 'NODE_ENV'];
      for (const own of others) known.add(own);
      const set = values(name, 'Environment').map((value) => value.split('=')[0]!);
      assert.deepEqual(
        set.filter((variable) => !known.has(variable)),
        [],
      );
    });

    test('reads secrets from credentials that it is given', () => {
      const given = values(name, 'LoadCredential').map((value) => value.split(':')[0]);
      const used = values(name, 'Environment').flatMap((value) => /=%d\/(.*)/.exec(value)?.[1] ?? []);
      assert.deepEqual(used, given);
    });

    test('may finish its calls, and starts again as often as up has it', () => {
      const { drainMs } = Settings.parse({});
      assert.ok(Number(values(name, 'TimeoutStopSec')[0]) * 1000 > drainMs);
      assert.equal(Number(values(name, 'StartLimitIntervalSec')[0]) * 1000, RESTARTS.windowMs);
      // The first start counts as well.
      assert.equal(Number(values(name, 'StartLimitBurst')[0]), RESTARTS.restarts + 1);
    });

    test('is shut off from the rest of its machine', { skip: analyze.skip }, async (context) => {
      const folder = units(context);
      const flags = ['security', '--offline=yes', `--threshold=${MAX_EXPOSURE}`, join(folder, name)];
      await run(analyze.path!, flags);
    });
  });
}

test('systemd takes every directive', { skip: analyze.skip }, async (context) => {
  assert.equal(await verify(units(context)), '');
  const wrong = units(context, (text) => text.replace('NoNewPrivileges=', 'NoNewPrivilege='));
  assert.match(await verify(wrong), /Unknown key name 'NoNewPrivilege'|Unknown key 'NoNewPrivilege'/);
});
