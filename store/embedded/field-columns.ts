import { metadataPath, readPath } from '../filter.ts';
import type { FilterRow } from './document-rows.ts';
import type { Slice } from './slice.ts';

/** Most fields to keep; the least recently used are dropped first. */
const MAX_COLUMNS = 64;

/** Fields that are being read. */
interface Filling {
  columns: Map<string, unknown[]>;
  /** The last document that was read. */
  after: string;
}

/**
 * Values of the fields that filters have used, by slot of the mirror. With many documents, parsing all metadata takes
 * seconds; comparing values in memory takes a millisecond.
 */
export class FieldColumns {
  readonly #columns = new Map<string, unknown[]>();
  #filling: Filling | undefined;

  /** The values of a field that has been {@link require}d. */
  values(field: string): readonly unknown[] {
    return this.#columns.get(field)!;
  }

  /**
   * Reads fields that are not there yet, until the slice is spent.
   *
   * @param slots slot by row of `documents`
   * @param documents the next few documents past a given one, by document id: those of the mirror, and others
   * @returns whether all fields are there
   */
  require(
    fields: ReadonlySet<string>,
    slots: ReadonlyMap<number, number>,
    documents: (after: string) => readonly FilterRow[],
    slice: Slice,
  ): boolean {
    const missing: string[] = [];
    for (const field of fields) {
      if (field === 'document_id') continue;
      const values = this.#columns.get(field);
      if (values === undefined) {
        missing.push(field);
        continue;
      }
      // A Map keeps the order of insertion: after this insertion at the end, the first field is the least
      // recently used.
      this.#columns.delete(field);
      this.#columns.set(field, values);
    }
    if (missing.length === 0) return true;
    if (!missing.every((field) => this.#filling?.columns.has(field))) {
      // Those of another search that is not done either are read along.
      const names = new Set([...missing, ...(this.#filling?.columns.keys() ?? [])]);
      this.#filling = { columns: new Map([...names].map((field) => [field, []])), after: '' };
    }
    return this.#fillOn(this.#filling!, slots, documents, slice, fields.size);
  }

  #fillOn(
    filling: Filling,
    slots: ReadonlyMap<number, number>,
    documents: (after: string) => readonly FilterRow[],
    slice: Slice,
    kept: number,
  ): boolean {
    for (let rows = documents(filling.after); rows.length > 0; rows = documents(filling.after)) {
      for (const row of rows) {
        const slot = slots.get(row.id);
        if (slot !== undefined) this.#fill(filling.columns, slot, row);
      }
      filling.after = rows.at(-1)!.documentId;
      if (slice.spent) return false;
    }
    this.#filling = undefined;
    for (const [field, values] of filling.columns) this.#columns.set(field, values);
    for (const field of this.#columns.keys()) {
      if (this.#columns.size <= Math.max(MAX_COLUMNS, kept)) break;
      this.#columns.delete(field);
    }
    return true;
  }

  /** Sets the values of a new or changed document. */
  set(slot: number, row: FilterRow): void {
    if (this.#columns.size > 0) this.#fill(this.#columns, slot, row);
    if (this.#filling) this.#fill(this.#filling.columns, slot, row);
  }

  /** Renumbers slots: those in `kept` stay, in its order. */
  compact(kept: readonly number[]): void {
    for (const columns of [this.#columns, this.#filling?.columns]) {
      for (const [field, values] of columns ?? []) {
        columns!.set(
          field,
          kept.map((slot) => values[slot]),
        );
      }
    }
  }

  #fill(columns: ReadonlyMap<string, unknown[]>, slot: number, row: FilterRow): void {
    const metadata: unknown = JSON.parse(row.metadata);
    for (const [field, values] of columns) {
      const path = metadataPath(field);
      values[slot] = path ? readPath(metadata, path) : row.version;
    }
  }
}
