import {
  type DocumentClient,
  type FullDocument,
  type RecordOperation,
  ScalingnoteError,
} from '../../clients/index.ts';
import { idOf } from '../../clients/operation.ts';
import { clip } from '../output/print.ts';
import { DocumentTable, type Entry, FLAGS, hashOf } from './document-table.ts';
import type { BadRecord, SourceRecord } from './documents.ts';
import { REJECTED_SHOWN } from './problems.ts';

/** How a source and a collection differ, in documents. */
export interface Differences {
  /** Documents that the source has in the end, and that it deletes. */
  source: number;
  /** In the collection as in the source. */
  same: number;
  /** In both, with another content or version. */
  different: number;
  /** In the source alone. */
  missing: number;
  /** In the collection with a higher version than in the source: these stay. */
  newer: number;
  /** In the collection alone, or deleted by the source and still there. */
  extra: number;
  /** Stored without their text, so that only sending them tells. */
  withoutText: number;
  /** Changes of metadata alone: what they lead to is not known here, so they are sent. */
  patches: number;
  /** Ids of documents in the collection alone. */
  extraIds: string[];
}

/** A source as it has to be in a collection: its last word on each document. */
export class Expected {
  readonly #table = new DocumentTable();
  readonly #none = Buffer.alloc(16);
  readonly #extraVersions = new Map<string, number>();
  #patches = 0;

  /** Reads the source. @param onProblem - called for a record that can't be read */
  static async of(
    records: AsyncIterable<SourceRecord>,
    onProblem: (record: BadRecord) => void,
    signal: AbortSignal,
  ): Promise<Expected> {
    const expected = new Expected();
    for await (const record of records) {
      signal.throwIfAborted();
      if ('problem' in record) onProblem(record);
      else expected.#add(record.sequence, record.operation);
    }
    return expected;
  }

  /** Compares with a collection; one that is not there has no documents. @throws {ScalingnoteError} */
  async compare(
    client: DocumentClient,
    scope: { collection: string; tenant: string; signal: AbortSignal },
  ): Promise<Differences> {
    const found: Differences = {
      source: 0,
      same: 0,
      different: 0,
      missing: 0,
      newer: 0,
      extra: 0,
      withoutText: 0,
      patches: this.#patches,
      extraIds: [],
    };
    try {
      for await (const document of client.exportDocuments(scope)) this.#compareOne(document, found);
    } catch (error) {
      if (!(error instanceof ScalingnoteError) || error.reason !== 'COLLECTION_NOT_FOUND') throw error;
    }
    this.#table.update(({ flags }) => {
      if ((flags & FLAGS.deleted) !== 0) return flags;
      found.source++;
      if ((flags & FLAGS.stored) !== 0) return flags;
      found.missing++;
      return flags | FLAGS.send;
    });
    return found;
  }

  /**
   * The records of the source that have to be sent, once they were compared.
   *
   * @param deletes - ids of documents that are deleted after them
   */
  async *toSend(
    records: AsyncIterable<SourceRecord>,
    deletes: readonly string[],
  ): AsyncGenerator<SourceRecord> {
    let last = 0;
    for await (const record of records) {
      last = record.sequence;
      if ('problem' in record) continue;
      if ('patch' in record.operation) {
        yield record;
        continue;
      }
      const entry = this.#table.get(idOf(record.operation));
      if (entry?.sequence === record.sequence && (entry.flags & FLAGS.send) !== 0) yield record;
    }
    for (const id of deletes) {
      const version = this.#extraVersions.get(id) ?? 0;
      yield { sequence: ++last, file: '--delete-missing', line: 0, operation: { delete: id, version } };
    }
  }

  #add(sequence: number, operation: RecordOperation): void {
    if ('patch' in operation) {
      this.#patches++;
      return;
    }
    const id = idOf(operation);
    const version = operation.version ?? 0;
    const before = this.#table.get(id);
    // The service rejects it, whatever came before.
    if (before !== undefined && version < before.version) return;
    const deleted = 'delete' in operation;
    const content = deleted ? this.#none : contentOf(operation);
    this.#table.set(id, { content, version, sequence, flags: deleted ? FLAGS.deleted : 0 });
  }

  #compareOne(document: FullDocument, found: Differences): void {
    const { id, version } = document;
    const entry: Entry | undefined = this.#table.get(id);
    if (entry === undefined) {
      found.extra++;
      found.extraIds.push(id);
      // One that is written meanwhile has a higher version, and stays.
      if (version > 0) this.#extraVersions.set(id, version);
      return;
    }
    this.#table.mark(id, FLAGS.stored);
    if (version > entry.version) {
      found.newer++;
    } else if ((entry.flags & FLAGS.deleted) !== 0) {
      found.extra++;
      this.#table.mark(id, FLAGS.send);
    } else if (document.text === undefined) {
      found.withoutText++;
      this.#table.mark(id, FLAGS.send);
    } else if (version === entry.version && contentOf(document).equals(entry.content)) {
      found.same++;
    } else {
      found.different++;
      this.#table.mark(id, FLAGS.send);
    }
  }
}

/** Whether there is nothing to say. */
export function isEqual({ different, missing, newer, extra, withoutText, patches }: Differences): boolean {
  return different + missing + newer + extra + withoutText + patches === 0;
}

/** Differences for people, a line each. */
export function describeDifferences(found: Differences): string[] {
  const lines: [count: number, what: string][] = [
    [found.missing, 'in the sources and not in the collection'],
    [found.different, 'with another content or version in the collection'],
    [found.newer, 'with a higher version in the collection: they stay'],
    [found.withoutText, 'stored without their text, which only sending them compares'],
    [found.patches, 'patches, which are sent without being compared'],
    [found.extra, `in the collection and not in the sources${shownIds(found.extraIds)}`],
  ];
  return lines.filter(([count]) => count > 0).map(([count, what]) => `${count} ${what}`);
}

function shownIds(ids: readonly string[]): string {
  if (ids.length === 0) return '';
  const shown = ids.slice(0, REJECTED_SHOWN).map((id) => JSON.stringify(clip(id, 64)));
  return `: ${shown.join(', ')}${ids.length > shown.length ? ', ...' : ''}`;
}

/** Everything that a document's owner says of it, but for its version. */
function contentOf(document: {
  title?: string;
  text?: string;
  metadata?: Readonly<Record<string, unknown>>;
  expiresAt?: Date;
}): Buffer {
  const { title = '', text = '', metadata = {}, expiresAt } = document;
  return hashOf(JSON.stringify([title, text, sorted(metadata), expiresAt?.getTime() ?? null]));
}

/** Metadata with keys in one order: a store need not keep theirs. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1));
  return entries.map(([key, item]) => [key, sorted(item)]);
}
