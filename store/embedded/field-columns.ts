import { metadataPath, readPath } from '../filter.ts';
import type { FilterRow } from './documents.ts';

/** Most fields to keep; the least recently used are dropped first. */
const MAX_COLUMNS = 64;

/**
 * Values of the fields that filters have used, by slot of the mirror. With many documents, parsing all metadata takes
 * seconds; comparing values in memory takes a millisecond.
 */
export class FieldColumns {
  readonly #columns = new Map<string, unknown[]>();

  /** The values of a field that has been {@link require}d. */
  values(field: string): readonly unknown[] {
    return this.#columns.get(field)!;
  }

  /**
   * Makes sure that fields are there.
   *
   * @param slots slot by row of `documents`
   * @param documents all documents of the mirror, and others; read only if a field is missing
   */
  require(
    fields: ReadonlySet<string>,
    slots: ReadonlyMap<number, number>,
    documents: Iterable<FilterRow>,
  ): void {
    const missing = new Map<string, unknown[]>();
    for (const field of fields) {
      if (field === 'document_id') continue;
      const values = this.#columns.get(field) ?? [];
      if (!this.#columns.delete(field)) missing.set(field, values);
      // A Map keeps the order of insertion: after this insertion at the end, the first field is the least
      // recently used.
      this.#columns.set(field, values);
    }
    for (const field of this.#columns.keys()) {
      if (this.#columns.size <= Math.max(MAX_COLUMNS, fields.size)) break;
      this.#columns.delete(field);
    }
    if (missing.size === 0) return;
    for (const row of documents) {
      const slot = slots.get(row.id);
      if (slot !== undefined) this.#fill(missing, slot, row);
    }
  }

  /** Sets the values of a new or changed document. */
  set(slot: number, row: FilterRow): void {
    if (this.#columns.size > 0) this.#fill(this.#columns, slot, row);
  }

  /** Renumbers slots: those in `kept` stay, in its order. */
  compact(kept: readonly number[]): void {
    for (const [field, values] of this.#columns)
      this.#columns.set(
        field,
        kept.map((slot) => values[slot]),
      );
  }

  #fill(columns: ReadonlyMap<string, unknown[]>, slot: number, row: FilterRow): void {
    const metadata: unknown = JSON.parse(row.metadata);
    for (const [field, values] of columns) {
      const path = metadataPath(field);
      values[slot] = path ? readPath(metadata, path) : row.version;
    }
  }
}
