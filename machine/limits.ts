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
  /** Processes of one service that have this each: one, unless the service runs in several. */
  processes: number;
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

let whole: Limits | undefined;
let own: Limits | undefined;

/**
 * What this process may use of its machine, as it was when this was called first: a share of it, for one of the processes of
 * a service.
 */
export function limits(): Limits {
  return (own ??= shareOf(machineLimits(), placeOf(process.env)?.processes ?? 1));
}

/** What all processes of this service may use together. */
export function machineLimits(): Limits {
  whole ??= limitsOf({
    cgroup: cgroupLimits(),
    cpus: cpus().length,
    // It follows "taskset" and cpusets. Newer versions of Node follow the quota as well.
    affinity: availableParallelism(),
    memoryBytes: totalmem(),
  });
  return whole;
}

/** Says to a process, and to its threads, which of the processes of a service it is. Whoever starts it sets this. */
export const PLACE_VARIABLE = 'SCALINGNOTE_PROCESS';

/** Which of the processes of a service a process is. */
export interface Place {
  /** From 1 on. */
  number: number;
  processes: number;
  /** Of the service. */
  port: number;
  /** Of the process that started it. */
  parent: number;
}

/** As an environment says it; `undefined` where a service is one process. */
export function placeOf(env: NodeJS.ProcessEnv): Place | undefined {
  const said = /^(\d+)\/(\d+) at (\d+) by (\d+)$/.exec(env[PLACE_VARIABLE] ?? '');
  if (!said) return undefined;
  const [number, processes, port, parent] = said.slice(1).map(Number) as [number, number, number, number];
  return { number, processes, port, parent };
}

/** The value of {@link PLACE_VARIABLE}. */
export function placeText({ number, processes, port, parent }: Place): string {
  return `${number}/${processes} at ${port} by ${parent}`;
}

/** What each of so many processes may use, where all together have this. */
export function shareOf(all: Limits, processes: number): Limits {
  if (processes === 1) return all;
  const cpus = all.cpus / processes;
  return {
    ...all,
    cpus,
    threads: Math.max(1, Math.ceil(cpus)),
    cpusLimited: true,
    memoryBytes: all.memoryBytes / processes,
    processes,
    found: `${all.found}; shared by ${processes} processes`,
  };
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
    processes: 1,
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
