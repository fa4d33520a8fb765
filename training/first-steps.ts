/** Steps of a run that are taken for a plan; the first one warms up and does not count. */
const MEASURED_STEPS = 3;

/** Runs something until it has taken some steps. @returns seconds of a step */
export async function firstSteps(
  signal: AbortSignal | undefined,
  run: (stop: AbortSignal, stepped: () => void) => Promise<unknown>,
): Promise<number> {
  const controller = new AbortController();
  const enough = new Error('measured');
  const times: number[] = [];
  const stepped = (): void => {
    times.push(performance.now());
    if (times.length === MEASURED_STEPS) controller.abort(enough);
  };
  const stop = signal === undefined ? controller.signal : AbortSignal.any([signal, controller.signal]);
  await run(stop, stepped).catch((error: unknown) => {
    if (error !== enough) throw error;
  });
  signal?.throwIfAborted();
  return (times.at(-1)! - times[0]!) / 1000 / (times.length - 1);
}
