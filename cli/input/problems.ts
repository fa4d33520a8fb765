import { idOf } from '../../clients/operation.ts';
import { clip, note } from '../output/print.ts';
import type { BadRecord, GoodRecord } from './documents.ts';
import type { Rejects } from './rejects.ts';

/** Rejected records that are shown one by one; the rest is counted. */
export const REJECTED_SHOWN = 20;

/** Characters of an identifier that are shown. */
const ID_WIDTH = 64;

/** Shows rejected records with their places, and keeps them where the caller wants them kept. */
export class Problems {
  /** Records that could not be read. */
  unreadable = 0;
  readonly #rejects: Rejects | undefined;
  #shown = 0;

  constructor(rejects: Rejects | undefined) {
    this.#rejects = rejects;
  }

  /** A record that can't be read. */
  read({ file, line, problem, raw }: BadRecord): void {
    this.unreadable++;
    this.#rejects?.raw({ reason: problem, file, line }, raw);
    this.#show(`${file}, line ${line}: ${problem}`);
  }

  /** A record that the service, or the client, rejected. */
  rejected({ file, line, operation }: GoodRecord, reason: string): void {
    this.#rejects?.record({ reason, file, line }, operation);
    this.#show(`${file}, line ${line} (${JSON.stringify(clip(idOf(operation), ID_WIDTH))}): ${reason}`);
  }

  /** All records are sent again, to another collection: it may accept what this one has rejected. */
  startOver(): void {
    this.#rejects?.clear();
  }

  #show(line: string): void {
    this.#shown++;
    if (this.#shown <= REJECTED_SHOWN) note(line);
    else if (this.#shown === REJECTED_SHOWN + 1) note('more rejected documents are counted, but not shown');
  }
}
