import { readdirSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';

// Loaded into a service by `--import`, with `--expose-gc`: answers its parent with what the process holds.

/** What a process holds, after a collection of all garbage. */
export interface Held {
  heapBytes: number;
  /** Memory of buffers outside the heap. */
  externalBytes: number;
  rssBytes: number;
  /** Sockets, timers and other things that keep a process alive. */
  handles: number;
  fileDescriptors: number;
  /** Longest delay of the event loop since the last question, in milliseconds. */
  delayMs: number;
}

/** What the parent sends. */
export const HELD = 'scalingnote held';
/** What is answered. */
export interface HeldAnswer {
  type: typeof HELD;
  held: Held;
}

const collect = (globalThis as { gc?: () => void }).gc;
if (process.send && collect) {
  const delays = monitorEventLoopDelay({ resolution: 5 });
  delays.enable();
  process.on('message', (message) => {
    if (message !== HELD) return;
    const delayMs = delays.max / 1e6;
    collect();
    // Finalizers run after a turn, and free what a second collection finds.
    setImmediate(() => {
      collect();
      const { heapUsed, external, rss } = process.memoryUsage();
      const held: Held = {
        heapBytes: heapUsed,
        externalBytes: external,
        rssBytes: rss,
        handles: process.getActiveResourcesInfo().length,
        fileDescriptors: descriptors(),
        delayMs,
      };
      delays.reset();
      process.send?.({ type: HELD, held } satisfies HeldAnswer);
    });
  });
  // The channel alone must not keep the service alive.
  process.channel?.unref();
}

function descriptors(): number {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return 0;
  }
}
