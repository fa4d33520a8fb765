import { CLEAR_LINE } from './print.ts';

/** How often a line is drawn: more cannot be read; and where it is not a terminal, less is enough. */
const TERMINAL_INTERVAL_MS = 100;
const FILE_INTERVAL_MS = 10_000;
const BAR_WIDTH = 24;

/** A progress line on standard error: a bar on a terminal, a line now and then elsewhere. */
export class Progress {
  readonly #label: string;
  readonly #unit: string;
  readonly #from: number;
  readonly #started = performance.now();
  readonly #terminal = process.stderr.isTTY;
  #drawn = 0;

  /**
   * @param unit - what is counted, for example `documents`; `bytes` are shown as MB
   * @param from - how much was done before the clock begins
   */
  constructor(label: string, unit: string, from = 0) {
    this.#label = label;
    this.#unit = unit;
    this.#from = from;
  }

  /**
   * Shows how far it is.
   *
   * @param total - where it ends; left out where nobody knows
   * @param detail - what else there is to say
   */
  update(done: number, total?: number, detail?: string): void {
    const now = performance.now();
    const interval = this.#terminal ? TERMINAL_INTERVAL_MS : FILE_INTERVAL_MS;
    if (now - this.#drawn < interval) return;
    this.#drawn = now;
    this.#draw(done, total, detail);
  }

  /** Shows the end and leaves the line. */
  finish(done: number): void {
    this.#draw(done, done);
    if (this.#terminal) process.stderr.write('\n');
  }

  #draw(done: number, total: number | undefined, detail?: string): void {
    const seconds = Math.max(1e-3, (performance.now() - this.#started) / 1000);
    const rate = (done - this.#from) / seconds;
    const parts = [this.#label];
    if (total !== undefined && total > 0) {
      const share = Math.min(1, done / total);
      const filled = Math.round(share * BAR_WIDTH);
      if (this.#terminal) parts.push(`${'█'.repeat(filled)}${'░'.repeat(BAR_WIDTH - filled)}`);
      parts.push(`${Math.floor(share * 100)} %`);
    }
    parts.push(this.#amount(done));
    if (rate > 0) parts.push(`${this.#amount(rate)}/s`);
    if (total !== undefined && done < total && rate > 0)
      parts.push(`${Math.ceil((total - done) / rate)} s left`);
    if (detail !== undefined) parts.push(detail);
    const line = parts.join('  ');
    process.stderr.write(this.#terminal ? `${CLEAR_LINE}${line}` : `${line}\n`);
  }

  #amount(count: number): string {
    if (this.#unit === 'bytes') return `${(count / 1e6).toFixed(1)} MB`;
    return `${count.toLocaleString('en', { maximumFractionDigits: count < 10 ? 2 : 0 })} ${this.#unit}`;
  }
}

/** A progress line for each thing that goes on; its clock begins when it does. */
export class ProgressByName {
  readonly #lines = new Map<string, Progress>();

  /** @param unit - what is counted */
  update(name: string, unit: string, done: number, total: number, detail?: string): void {
    const line = this.#lines.get(name) ?? new Progress(name, unit, done);
    this.#lines.set(name, line);
    line.update(done, total, detail);
  }
}
