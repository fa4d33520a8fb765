import { readFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';

/** More of a core than this taken by others makes a machine busy. */
const BUSY_CORES = 0.1;
/** More than this share of the time taken by the host's other guests makes a machine busy. */
const BUSY_STEAL = 0.01;
/** The kernel counts in ticks of 10 ms on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** What else the machine did while something was measured. */
export interface Bystanders {
  /** Cores that other programs took, on average. */
  cores: number;
  /** Share of the time that the host gave to other guests. */
  steal: number;
  /** The load average of the last minute, at the end. */
  load: number;
  busy: boolean;
}

/** Watches a machine until the returned function is called. Knows nothing where there is no /proc. */
export function watchMachine(): () => Bystanders | undefined {
  const before = ticks();
  return () => {
    const after = ticks();
    if (!before || !after) return undefined;
    const seconds = (after.at - before.at) / 1000;
    const ours = after.ours - before.ours;
    const cores = Math.max(0, (after.worked - before.worked - ours) / TICKS_PER_SECOND / seconds);
    const steal = (after.stolen - before.stolen) / TICKS_PER_SECOND / seconds / cpus().length;
    return { cores, steal, load: loadavg()[0]!, busy: cores > BUSY_CORES || steal > BUSY_STEAL };
  };
}

/** A line about what the machine did besides. */
export function aboutBystanders({ cores, steal, load, busy }: Bystanders): string {
  const what = `others took ${cores.toFixed(2)} cores, the host ${(100 * steal).toFixed(1)} % of the time, load ${load.toFixed(1)}`;
  return busy
    ? `the machine was busy: ${what}; intervals go from the lowest pair to the highest`
    : `the machine was quiet: ${what}`;
}

interface Ticks {
  at: number;
  worked: number;
  stolen: number;
  /** Of this process, and of its children that have ended. */
  ours: number;
}

function ticks(): Ticks | undefined {
  try {
    // user, nice, system, idle, iowait, irq, softirq, steal
    const all = readFileSync('/proc/stat', 'latin1')
      .split('\n', 1)[0]!
      .trim()
      .split(/\s+/)
      .slice(1)
      .map(Number);
    const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, stolen = 0] = all;
    const stat = readFileSync('/proc/self/stat', 'latin1');
    const own = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .slice(11, 15)
      .map(Number);
    return {
      at: performance.now(),
      worked: user + nice + system + irq + softirq,
      stolen,
      ours: own.reduce((sum, each) => sum + each, 0),
    };
  } catch {
    return undefined;
  }
}
