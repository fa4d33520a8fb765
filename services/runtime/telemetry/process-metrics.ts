import { readdirSync } from 'node:fs';
import {
  monitorEventLoopDelay,
  performance,
  PerformanceObserver,
  type EventLoopUtilization,
} from 'node:perf_hooks';
import type { Instruments } from './instruments.ts';

/** Pauses of garbage collection, in seconds: the bounds that the semantic conventions advise, and finer ones. */
const GC_SECONDS = { unit: 's', bounds: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 1, 10] };

/** How often the event loop is looked at, in milliseconds: what lasts shorter is not seen, and more looks cost more. */
const LOOP_RESOLUTION_MS = 20;

/**
 * Measures the process itself.
 *
 * Source: semantic conventions for processes, Node.js and V8.
 *
 * @returns stops it
 */
export function measureProcess(metrics: Instruments): () => void {
  for (const mode of ['user', 'system'] as const) {
    const seconds = (): number => process.cpuUsage()[mode] / 1e6;
    const attributes = { 'cpu.mode': mode };
    metrics.observeTotal('process.cpu.time', 's', 'Processor time of the process', seconds, attributes);
  }
  const rss = (): number => process.memoryUsage.rss();
  metrics.observe('process.memory.usage', 'By', 'Memory of the process that is in use', rss);
  metrics.observe('process.uptime', 's', 'Time since the process was started', () => process.uptime());
  const heap = (): number => process.memoryUsage().heapUsed;
  metrics.observe('v8js.memory.heap.used', 'By', 'Memory of JavaScript objects', heap);

  metrics.observe(
    'process.open_file_descriptors',
    '{file_descriptor}',
    'Open files and connections',
    openFiles,
  );

  const delay = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS });
  delay.enable();
  const seconds = (nanoseconds: number): number =>
    Math.max(0, nanoseconds / 1e9 - LOOP_RESOLUTION_MS / 1000) || 0;
  const description = 'How much later than planned the event loop turns';
  metrics.observe('nodejs.eventloop.delay.p50', 's', description, () => seconds(delay.percentile(50)));
  metrics.observe('nodejs.eventloop.delay.p99', 's', description, () => seconds(delay.percentile(99)));
  metrics.observe('nodejs.eventloop.delay.max', 's', description, () => {
    const max = seconds(delay.max);
    // Each look sees what came since the one before.
    delay.reset();
    return max;
  });
  let before: EventLoopUtilization = performance.eventLoopUtilization();
  const busy = (): number => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, before);
    before = now;
    return utilization;
  };
  metrics.observe('nodejs.eventloop.utilization', '1', 'Share of the time that the event loop is busy', busy);

  const collections = metrics.histogram('v8js.gc.duration', 'Pauses of garbage collection', GC_SECONDS)({});
  const observer = new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) collections.record(duration / 1000);
  });
  observer.observe({ entryTypes: ['gc'] });
  return () => {
    delay.disable();
    observer.disconnect();
  };
}

/** Not a number where the system has no /proc. */
function openFiles(): number {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return Number.NaN;
  }
}
