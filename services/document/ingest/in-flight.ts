import type { Content } from './content.ts';
import type { Arrived } from './operation.ts';

/** What a document will be once the operations on it that have begun are written. */
export type Expectation =
  | { kind: 'content'; content: Content }
  | { kind: 'deleted' }
  /** A patch has begun, and what it patches has not been read yet. */
  | { kind: 'unread' };

/** A document with unsettled operations in a window. */
export class DocumentInFlight {
  /** Operations that have no outcome yet, those that wait included. */
  unsettled = 0;
  /** Operations that have not begun, in order. */
  readonly waiting: Arrived[] = [];
  /** Of the latest operation with the highest version. */
  version = 0;
  expected: Expectation = { kind: 'unread' };
  /** What the store said of it last; absent before it was asked, and where the document was not there. */
  stored: { passages: number; textOmitted: boolean } | undefined;

  /** Whether no operation has begun: only the store knows what the document is. */
  get isIdle(): boolean {
    return this.unsettled === this.waiting.length;
  }

  /**
   * Takes out the next operation that may begin. One behind a patch whose document is being read has to wait, for nobody
   * knows what it is compared with; a patch behind a delete too, for the store may refuse the delete.
   */
  takeNext(): Arrived | undefined {
    const [next] = this.waiting;
    if (next === undefined) return undefined;
    const { kind } = this.expected;
    const hasToWait = kind === 'unread' || (kind === 'deleted' && next.state === 'patching');
    return hasToWait && !this.isIdle ? undefined : this.waiting.shift();
  }

  /** An operation has begun. The store will refuse a lower version, so that changes nothing. */
  expect(version: number, expected: Expectation): void {
    if (version < this.version) return;
    this.version = version;
    this.expected = expected;
  }

  /** Forgets what was expected: everything that had begun is settled. */
  reset(): void {
    this.version = 0;
    this.expected = { kind: 'unread' };
    this.stored = undefined;
  }
}
