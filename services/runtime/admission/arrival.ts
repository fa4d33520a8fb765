import type { Metadata } from '@grpc/grpc-js';

/**
 * The metadata that say when a call arrived, by `performance.now()`, set by the admission. What a caller sends by this
 * name is replaced there; where there is no admission it moves nothing but the duration of that caller's own call.
 */
export const ARRIVED = 'scalingnote-arrived';

/** When the call of these metadata arrived, by `performance.now()`. Removes it from what handlers see. */
export function takeArrival(metadata: Metadata): number | undefined {
  const [value] = metadata.get(ARRIVED);
  if (value === undefined) return undefined;
  metadata.remove(ARRIVED);
  const arrived = Number(value);
  return arrived > 0 && arrived <= performance.now() ? arrived : undefined;
}
