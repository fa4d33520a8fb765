import { setTimeout as delay } from 'node:timers/promises';
import type { CallOptions } from '../../store.ts';

/** The bounds of a call: the caller's signal and deadline. */
export type Bounds = Pick<CallOptions, 'signal' | 'deadline'>;

/** Milliseconds until the deadline; `Infinity` without one. */
export function remainingMs({ deadline }: Bounds): number {
  return deadline === undefined ? Infinity : deadline - Date.now();
}

/** Whether the caller has given up or its deadline has passed. */
export function isOver(bounds: Bounds): boolean {
  return bounds.signal?.aborted === true || remainingMs(bounds) <= 0;
}

/** @throws the signal's reason, or a `TimeoutError`, if the call {@link isOver} */
export function throwIfOver(bounds: Bounds): void {
  bounds.signal?.throwIfAborted();
  if (remainingMs(bounds) > 0) return;
  throw new DOMException('the deadline of the store call has passed', 'TimeoutError');
}

/** Resolves after a time. @throws the signal's reason */
export async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  try {
    await delay(ms, undefined, signal ? { signal } : {});
  } catch {
    signal?.throwIfAborted();
  }
}
