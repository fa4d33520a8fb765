import { availableParallelism, cpus, totalmem } from 'node:os';
import { type CgroupLimits, cgroupLimits } from './cgroup.ts';

const MIB = 1024 * 1024;

/** What this process may use of its machine. */
export interface Limits {
  /** CPUs that it may keep busy: fractions come from a quota. */
  cpus: number;
  /** Threads that have work at the same time: at least one. */
  threads: number;
  /** Whether it may use less than the machine has. */
  cpusLimited: boolean;
  /** Bytes of memory: those of the machine, where nothing limits it. */
  memoryBytes: number;
  memoryLimited: boolean;
  /** What was found, in words. */
  found: string;
}

/** What the machine says. Tests say something else. */
export interface Machine {
  cgroup: CgroupLimits;
  /** CPUs that it has. */
  cpus: number;
  /** CPUs that the scheduler lets this process run on. */
  affinity: number;
  memoryBytes: number;
}

let known: Limits | undefined;

/** What this process may use of its machine, as it was when this was called first. */
export function limits(): Limits {
  known ??= limitsOf({
    cgroup: cgroupLimits(),
    cpus: cpus().length,
    // It follows "taskset" and cpusets. Newer versions of Node follow the quota as well.
    affinity: availableParallelism(),
    memoryBytes: totalmem(),
  });
  return known;
}

/** What such a machine leaves to a process. */
export function limitsOf({ cgroup, cpus, affinity, memoryBytes }: Machine): Limits {
  const quota = cgroup.cpus?.value ?? Infinity;
  const usable = Math.min(quota, affinity);
  const memory = Math.min(cgroup.memoryBytes?.value ?? Infinity, memoryBytes);
  const memoryLimited = memory < memoryBytes;
  const found = [
    `${round(usable)} of ${cpus} CPUs`,
    ...(affinity < cpus ? [`affinity ${affinity}`] : []),
    ...(cgroup.cpus ? [`quota ${round(quota)} by cgroup ${cgroup.cpus.version}`] : []),
    `${Math.floor(memory / MIB)} MiB of memory`,
    memoryLimited ? `limit by cgroup ${cgroup.memoryBytes!.version}` : 'all that the machine has',
  ];
  return {
    cpus: usable,
    // A quota of 1.5 keeps two threads busy three quarters of the time; one would leave a third of it unused.
    threads: Math.max(1, Math.ceil(usable)),
    cpusLimited: Math.ceil(usable) < cpus,
    memoryBytes: memory,
    memoryLimited,
    found: found.join(', '),
  };
}

/** Threads that ONNX Runtime is told to use: 0 leaves it to itself, which counts the cores of the whole machine. */
export function modelThreads({ threads, cpusLimited }: Limits = limits()): number {
  return cpusLimited ? threads : 0;
}

/**
 * Bytes of a budget that is `wanted` on a machine with memory, and no more than a share of what there is; never less than
 * `least`, without which the service could not do its work at all.
 */
export function memoryBudget(
  { wanted, share, least }: { wanted: number; share: number; least: number },
  { memoryBytes }: Limits = limits(),
): number {
  return Math.max(least, Math.min(wanted, Math.floor(memoryBytes * share)));
}

function round(cpus: number): number {
  return Math.round(cpus * 100) / 100;
}
