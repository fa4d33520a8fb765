import { type Limits, limits } from '../../machine/limits.ts';
import type { ServiceProcess } from '../service-processes.ts';

const MIB = 1024 * 1024;

/**
 * What a service's JavaScript heap may grow to, of the memory that all three share. V8 would let each take half of
 * it. Nearly half is left for what is outside the heaps: weights, messages, the store's pages, Node itself.
 */
const HEAP_SHARES: Readonly<Record<ServiceProcess['name'], number>> = {
  document: 1 / 4,
  query: 1 / 5,
  console: 1 / 8,
};

/** Flags of Node for a service that `up` starts: its heap is bounded where the memory is. */
export function nodeFlagsOf(
  name: ServiceProcess['name'],
  { memoryBytes, memoryLimited }: Limits = limits(),
  given: readonly string[] = [...process.execArgv, ...(process.env['NODE_OPTIONS'] ?? '').split(' ')],
): string[] {
  // Whoever says how large the heap is knows better.
  const said = given.some((flag) => /^--max[-_]old[-_]space[-_]size/.test(flag));
  if (!memoryLimited || said) return process.execArgv;
  const heapMib = Math.floor((memoryBytes * HEAP_SHARES[name]) / MIB);
  return [...process.execArgv, `--max-old-space-size=${heapMib}`];
}
