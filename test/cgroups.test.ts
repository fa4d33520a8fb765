import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import type { Limits } from '../machine/limits.ts';
import { sayNotTested } from './testing/optional-tool.ts';

/** What a group lets a process use, as the kernel of this machine enforces it. */

const run = promisify(execFile);
const MIB = 1024 * 1024;
const moduleAt = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href);
const PRINT_LIMITS = `import(${moduleAt('../machine/limits.js')}).then(({ limits }) => console.log(JSON.stringify(limits())))`;

/** A group of such controllers with limits, where this process may make one. */
function group(name: string, limits: Record<'v1' | 'v2', Record<string, string>>): string | undefined {
  const controller = Object.keys(limits.v1)[0]!.split('.')[0]!;
  for (const [version, at] of [
    ['v1', `/sys/fs/cgroup/${controller}`],
    ['v2', '/sys/fs/cgroup'],
  ] as const) {
    const folder = join(at, `scalingnote-test-${name}-${process.pid}`);
    try {
      if (version === 'v2') readFileSync('/sys/fs/cgroup/cgroup.controllers');
      mkdirSync(folder);
    } catch {
      continue;
    }
    try {
      for (const [file, value] of Object.entries(limits[version])) writeFileSync(join(folder, file), value);
      return folder;
    } catch {
      rmdirSync(folder);
    }
  }
  return undefined;
}

/** Runs a script in a group. It is a file: what it forks would inherit a script among its flags, and run that again. */
async function inGroup(context: TestContext, group: string, script: string): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'scalingnote-limits-'));
  const file = join(folder, 'script.mjs');
  writeFileSync(file, script);
  context.after(() => {
    rmSync(folder, { recursive: true });
    rmdirSync(group);
  });
  const shell = 'echo $$ > "$0/cgroup.procs" && exec "$1" "$2"';
  const { stdout } = await run('sh', ['-c', shell, group, process.execPath, file], { timeout: 120_000 });
  return stdout;
}

const NO_GROUPS = 'this process may make no cgroup: it has to be root, with a hierarchy that it may write to';

test('a quota of half a CPU is one thread, and a memory limit is found', async (context) => {
  const cpu = group('cpu', {
    v1: { 'cpu.cfs_period_us': '100000', 'cpu.cfs_quota_us': '50000' },
    v2: { 'cpu.max': '50000 100000' },
  });
  if (cpu === undefined) {
    sayNotTested(NO_GROUPS);
    return context.skip(NO_GROUPS);
  }
  const found = JSON.parse(await inGroup(context, cpu, PRINT_LIMITS)) as Limits;
  assert.deepEqual([found.cpus, found.threads, found.cpusLimited], [0.5, 1, true]);
});

test('a service that the kernel kills for memory: the reason is named', async (context) => {
  const memory = group('memory', {
    v1: { 'memory.limit_in_bytes': String(400 * MIB) },
    v2: { 'memory.max': String(400 * MIB), 'memory.swap.max': '0' },
  });
  if (memory === undefined) {
    sayNotTested(NO_GROUPS);
    return context.skip(NO_GROUPS);
  }
  const folder = mkdtempSync(join(tmpdir(), 'scalingnote-oom-'));
  context.after(() => rmSync(folder, { recursive: true }));
  const hog = `const kept = []; setTimeout(() => { for (;;) kept.push(Buffer.alloc(8 << 20, 1)); }, 3000).unref();`;
  const script = `
    import { LogFile } from ${moduleAt('../cli/supervise/log-file.js')};
    import { nodeFlagsOf } from ${moduleAt('../cli/supervise/memory.js')};
    import { Supervisor } from ${moduleAt('../cli/supervise/supervisor.js')};
    const log = new LogFile(${JSON.stringify(join(folder, 'console.log'))}, console.error);
    const nodeFlags = [...nodeFlagsOf('console'), ${JSON.stringify(`--import=data:text/javascript,${encodeURIComponent(hog)}`)}];
    const policy = { restarts: 0, windowMs: 60_000, firstMs: 1 };
    const service = await Supervisor.start('console', ['--port', '0'], { log, policy, nodeFlags });
    const error = await service.givenUp.catch((error) => error);
    console.log(JSON.stringify([nodeFlags[0], error.message]));`;
  const [heap, message] = JSON.parse(await inGroup(context, memory, script)) as [string, string];
  assert.equal(heap, '--max-old-space-size=50');
  assert.match(message, /SIGKILL: the kernel killed it for memory, of which there are 400 MiB/);
});
