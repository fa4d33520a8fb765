import { appendFileSync, closeSync, existsSync, openSync, readFileSync, writeSync } from 'node:fs';
import type { HistoryEvent, Untimed } from './history.ts';

/** Microseconds of the machine's monotonic clock, which all its processes share. */
export function monotonic(): number {
  return Number(process.hrtime.bigint() / 1000n);
}

/** A history in a file: what was written stays, even if the process is killed in the next moment. */
export class Journal {
  readonly #file: number;

  constructor(path: string) {
    // A process that was killed may have left half a line.
    if (existsSync(path) && !readFileSync(path, 'utf8').endsWith('\n')) appendFileSync(path, '\n');
    this.#file = openSync(path, 'a');
  }

  record(event: Untimed<HistoryEvent>): void {
    writeSync(this.#file, `${JSON.stringify({ ...event, at: monotonic() })}\n`);
  }

  close(): void {
    closeSync(this.#file);
  }
}

/** What is in a journal, without a line that was cut off. */
export function readJournal(path: string): HistoryEvent[] {
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8')
    .split('\n')
    .flatMap((line) => {
      try {
        return [JSON.parse(line) as HistoryEvent];
      } catch {
        return [];
      }
    });
}
