import type { Sliced } from '../slice.ts';

/** Runs a call that works in slices to its end. */
export function finish<Result>(call: Sliced<Result>): Result {
  for (;;) {
    const { done, value } = call.next();
    if (done === true) return value;
  }
}
