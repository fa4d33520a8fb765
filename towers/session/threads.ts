import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/**
 * Threads that a model may use when nobody says: in a container no more than its share of the processors, because
 * ONNX Runtime counts those of the machine. 0 where there is no such limit, which leaves it to ONNX Runtime.
 */
export function defaultThreads(
  readText: (path: string) => string = (path) => readFileSync(path, 'utf8'),
): number {
  try {
    // cgroup v2: "<quota> <period>" in microseconds, or "max <period>"
    const [quota, period] = readText('/sys/fs/cgroup/cpu.max').trim().split(' ').map(Number);
    if (!(quota! > 0) || !(period! > 0)) return 0;
    return Math.min(availableParallelism(), Math.max(1, Math.ceil(quota! / period!)));
  } catch {
    return 0;
  }
}
