import assert from 'node:assert/strict';
import { availableParallelism, totalmem } from 'node:os';
import { describe, test } from 'node:test';
import { cgroupLimits, oomKills, type ReadText } from './cgroup.ts';
import { limits, limitsOf, type Machine, memoryBudget, modelThreads } from './limits.ts';

const GIB = 1024 ** 3;

/** Files as a machine has them; all others are not there. */
function files(tree: Record<string, string>): ReadText {
  return (path) => {
    const text = tree[path];
    if (text === undefined) throw new Error(`ENOENT: ${path}`);
    return `${text}\n`;
  };
}

const V2 = '0::/';
const V2_MOUNT =
  '31 23 0:28 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime - cgroup2 cgroup2 rw,nsdelegate';

describe('v2', () => {
  test('a container that sees its own group alone, as Docker and Kubernetes start it', () => {
    const found = cgroupLimits(
      files({
        '/proc/self/cgroup': V2,
        '/proc/self/mountinfo': `22 27 0:21 / /proc rw - proc proc rw\n${V2_MOUNT}`,
        '/sys/fs/cgroup/cpu.max': '150000 100000',
        '/sys/fs/cgroup/memory.max': String(2 * GIB),
        '/sys/fs/cgroup/memory.high': 'max',
      }),
    );
    assert.deepEqual(found, {
      cpus: { value: 1.5, version: 'v2' },
      memoryBytes: { value: 2 * GIB, version: 'v2' },
    });
  });

  test('"max" is no limit', () => {
    const found = cgroupLimits(
      files({
        '/proc/self/cgroup': '0::/user.slice/user-1000.slice/session-2.scope',
        '/proc/self/mountinfo': V2_MOUNT,
        '/sys/fs/cgroup/user.slice/user-1000.slice/session-2.scope/cpu.max': 'max 100000',
        '/sys/fs/cgroup/user.slice/user-1000.slice/session-2.scope/memory.max': 'max',
      }),
    );
    assert.deepEqual(found, {});
  });

  test('a unit of systemd in a slice: the strictest of all groups above it', () => {
    const slice = '/sys/fs/cgroup/scalingnote.slice';
    const found = cgroupLimits(
      files({
        '/proc/self/cgroup': '0::/scalingnote.slice/scalingnote-query.service',
        '/proc/self/mountinfo': V2_MOUNT,
        [`${slice}/scalingnote-query.service/cpu.max`]: '400000 100000',
        [`${slice}/scalingnote-query.service/memory.max`]: String(4 * GIB),
        [`${slice}/cpu.max`]: '50000 100000',
        [`${slice}/memory.max`]: String(8 * GIB),
        [`${slice}/memory.high`]: String(3 * GIB),
      }),
    );
    assert.equal(found.cpus?.value, 0.5);
    assert.equal(found.memoryBytes?.value, 3 * GIB);
  });

  test('a period that is not the usual one', () => {
    const tree = { '/proc/self/cgroup': V2, '/proc/self/mountinfo': V2_MOUNT };
    assert.equal(cgroupLimits(files({ ...tree, '/sys/fs/cgroup/cpu.max': '5000 20000' })).cpus?.value, 0.25);
  });

  test('a group above what the container can see', () => {
    const found = cgroupLimits(
      files({
        '/proc/self/cgroup': '0::/../../elsewhere',
        '/proc/self/mountinfo': V2_MOUNT,
        '/sys/fs/cgroup/memory.max': String(GIB),
      }),
    );
    assert.equal(found.memoryBytes?.value, GIB);
  });
});

const V1_GROUP = '/docker/4f1e';
const V1 = ['12:memory:', '8:cpu,cpuacct:', '5:cpuset:', '1:name=systemd:']
  .map((line) => line + V1_GROUP)
  .join('\n');
/** A container without a namespace of groups: its own group is mounted, and named as the host names it. */
const V1_MOUNTS = [
  `600 590 0:28 ${V1_GROUP} /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory`,
  `601 590 0:29 ${V1_GROUP} /sys/fs/cgroup/cpu,cpuacct ro,nosuid - cgroup cgroup rw,cpu,cpuacct`,
].join('\n');

describe('v1', () => {
  test('a container: its group is at the top of what it sees', () => {
    const found = cgroupLimits(
      files({
        '/proc/self/cgroup': V1,
        '/proc/self/mountinfo': V1_MOUNTS,
        '/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us': '250000',
        '/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us': '100000',
        '/sys/fs/cgroup/memory/memory.limit_in_bytes': String(512 * 1024 ** 2),
      }),
    );
    assert.deepEqual(found, {
      cpus: { value: 2.5, version: 'v1' },
      memoryBytes: { value: GIB / 2, version: 'v1' },
    });
  });

  test('no limit: -1, and the largest multiple of a page', () => {
    const found = cgroupLimits(
      files({
        '/proc/self/cgroup': V1,
        '/proc/self/mountinfo': V1_MOUNTS,
        '/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us': '-1',
        '/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us': '100000',
        '/sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712',
      }),
    );
    assert.deepEqual(found, {});
  });

  test('hybrid, as on a machine of ours: controllers are in v1, and v2 has none', () => {
    const found = cgroupLimits(
      files({
        '/proc/self/cgroup': '4:memory:/process_api/6960\n3:cpuset:/\n2:cpuacct:/\n1:cpu:/\n0::/',
        '/proc/self/mountinfo': [
          '31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755',
          '32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu',
          '35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory',
          '41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw',
        ].join('\n'),
        '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': '-1',
        '/sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000',
        '/sys/fs/cgroup/memory/process_api/6960/memory.limit_in_bytes': '9223372036854771712',
        '/sys/fs/cgroup/memory/process_api/memory.limit_in_bytes': String(3 * GIB),
      }),
    );
    assert.deepEqual(found, { memoryBytes: { value: 3 * GIB, version: 'v1' } });
  });
});

test('without cgroups, or with files that make no sense, there is no limit', () => {
  assert.deepEqual(cgroupLimits(files({})), {});
  const nonsense = { '/sys/fs/cgroup/cpu.max': 'lots', '/sys/fs/cgroup/memory.max': '-7' };
  assert.deepEqual(
    cgroupLimits(files({ '/proc/self/cgroup': V2, '/proc/self/mountinfo': V2_MOUNT, ...nonsense })),
    {},
  );
});

test('a folder with a space in its name is found', () => {
  const found = cgroupLimits(
    files({
      '/proc/self/cgroup': V2,
      '/proc/self/mountinfo': '31 23 0:28 / /my\\040groups rw - cgroup2 cgroup2 rw',
      '/my groups/memory.max': String(GIB),
    }),
  );
  assert.equal(found.memoryBytes?.value, GIB);
});

test('kills for memory are counted where the kernel counts them', () => {
  const v2 = { '/proc/self/cgroup': V2, '/proc/self/mountinfo': V2_MOUNT };
  const events = {
    '/sys/fs/cgroup/memory.events': 'low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 0',
  };
  assert.equal(oomKills(files({ ...v2, ...events })), 2);
  const v1 = { '/proc/self/cgroup': V1, '/proc/self/mountinfo': V1_MOUNTS };
  const control = 'oom_kill_disable 0\nunder_oom 0\noom_kill 5';
  assert.equal(oomKills(files({ ...v1, '/sys/fs/cgroup/memory/memory.oom_control': control })), 5);
  assert.equal(oomKills(files({ ...v2, '/proc/vmstat': 'pgfault 1\noom_kill 4' })), 4);
  assert.equal(oomKills(files({})), undefined);
});

const MACHINE: Machine = { cgroup: {}, cpus: 8, affinity: 8, memoryBytes: 16 * GIB };
const quota = (value: number): Machine => ({ ...MACHINE, cgroup: { cpus: { value, version: 'v2' } } });

test('threads follow the quota and the affinity, and are at least one', () => {
  assert.deepEqual(
    [0.1, 1, 1.5, 4, 64].map((cpus) => limitsOf(quota(cpus)).threads),
    [1, 1, 2, 4, 8],
  );
  assert.equal(limitsOf({ ...MACHINE, affinity: 3 }).threads, 3);
  assert.equal(limitsOf({ ...quota(2), affinity: 3 }).threads, 2);
});

test('ONNX Runtime counts for itself only where nothing limits it', () => {
  assert.equal(modelThreads(limitsOf(MACHINE)), 0);
  assert.equal(modelThreads(limitsOf(quota(64))), 0);
  assert.equal(modelThreads(limitsOf(quota(0.5))), 1);
  assert.equal(modelThreads(limitsOf({ ...MACHINE, affinity: 2 })), 2);
});

test('budgets shrink with the memory, down to what the work needs', () => {
  const budget = { wanted: 256, share: 1 / 8, least: 64 };
  const of = (memoryBytes: number): number => memoryBudget(budget, limitsOf({ ...MACHINE, memoryBytes }));
  assert.deepEqual([16 * GIB, 2048, 1024, 100].map(of), [256, 256, 128, 64]);
});

test('a limit beyond the machine is none, and what was found is said', () => {
  const memoryBytes = { value: 64 * GIB, version: 'v1' } as const;
  const wide = limitsOf({ ...MACHINE, cgroup: { memoryBytes } });
  assert.deepEqual([wide.memoryLimited, wide.memoryBytes], [false, 16 * GIB]);
  assert.equal(wide.found, '8 of 8 CPUs, 16384 MiB of memory, all that the machine has');
  const cgroup = { ...quota(1.5).cgroup, memoryBytes: { value: 2 * GIB, version: 'v2' } } as const;
  assert.equal(
    limitsOf({ ...MACHINE, cgroup, affinity: 4 }).found,
    '1.5 of 8 CPUs, affinity 4, quota 1.5 by cgroup v2, 2048 MiB of memory, limit by cgroup v2',
  );
});

test('here: no more than the machine has', () => {
  const { threads, memoryBytes } = limits();
  assert.ok(threads >= 1 && threads <= availableParallelism());
  assert.ok(memoryBytes > 0 && memoryBytes <= totalmem());
});
