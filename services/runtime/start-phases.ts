/** How long the parts of a start take, in milliseconds. The clock begins with the process. */
export class StartPhases {
  readonly #ms: Record<string, number> = {};
  #last = 0;

  /** What has passed since the last phase ended was this one. */
  end(phase: string): void {
    const now = performance.now();
    this.#ms[phase] = Math.round(now - this.#last);
    this.#last = now;
  }

  /** Measures work that other work runs beside. */
  async of<Result>(part: string, work: Promise<Result>): Promise<Result> {
    const began = performance.now();
    const result = await work;
    this.#ms[part] = Math.round(performance.now() - began);
    return result;
  }

  /** By phase. */
  get ms(): Readonly<Record<string, number>> {
    return this.#ms;
  }
}
