import { oomKills } from '../../machine/cgroup.ts';
import { limits } from '../../machine/limits.ts';

const MIB = 1024 * 1024;

/** How a process ended that nobody asked to end. */
export interface Ending {
  /** Its exit code; null where a signal ended it. */
  exitCode: number | null;
  /** In words: "SIGKILL", "exit 1", "the kernel killed it for memory". */
  cause: string;
  /** The last lines of its log. */
  lastWords: string;
}

/** Tells a kill by the kernel, for want of memory, from other kills: the kernel counts its own. */
export class OomCounter {
  readonly #read: () => number | undefined;
  readonly #before: number | undefined;

  constructor(read: () => number | undefined = oomKills) {
    this.#read = read;
    this.#before = read();
  }

  /** Why a process got that signal; `undefined` where nothing says that it was for memory. */
  cause(signal: NodeJS.Signals | null): string | undefined {
    if (signal !== 'SIGKILL' || this.#before === undefined) return undefined;
    if ((this.#read() ?? 0) <= this.#before) return undefined;
    const { memoryBytes } = limits();
    return `SIGKILL: the kernel killed it for memory, of which there are ${Math.floor(memoryBytes / MIB)} MiB`;
  }
}
