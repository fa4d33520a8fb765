import { compileFilter, filterFields } from '../filter.ts';
import type { Ranked } from '../ranking.ts';
import type { Filter, SparseVector } from '../store.ts';
import { FieldColumns } from './field-columns.ts';
import type { Documents } from './documents.ts';
import { SparseIndex } from './sparse-index.ts';
import { TopDocuments } from './top-documents.ts';
import { SCORE_ERROR, VectorMatrix } from './vector-matrix.ts';

/** A document that a search found. */
export interface Found extends Ranked {
  /** Row of `documents`. */
  id: number;
}

interface MirrorDocument {
  /** Row of `documents`. */
  id: number;
  documentId: string;
  /** Row of its first passage; the others follow. */
  row: number;
  passages: number;
}

/** Documents that match a filter. */
interface Selection {
  /** By slot. */
  holds: Uint8Array;
  passages: number;
}

/**
 * If a filter leaves less than this share of the passages, a search scores each of them by itself; otherwise
 * it scans all. A scan costs a tenth per row, but has to look deeper the more rows the filter removes.
 */
const SCORE_ONE_BY_ONE_SHARE = 0.15;

/** Close the gaps of removed documents when they are a quarter of all rows, and at least this many. */
const MIN_DEAD_ROWS = 1024;

/**
 * One tenant's vectors in memory; texts and metadata stay on disk. It follows the change log, so the next
 * search finds what any process has committed.
 *
 * Slots (documents) and rows (passages) are numbered in order of arrival and not reused: a removed document
 * leaves a gap until {@link Mirror.#compact} closes it.
 */
export class Mirror {
  readonly #documents: Documents;
  readonly #tenant: number;
  readonly #dimensions: number;
  #slots: (MirrorDocument | undefined)[] = [];
  /** Slot by row. */
  #owners: number[] = [];
  /** Slot by row of `documents`. */
  readonly #slotOf = new Map<number, number>();
  #matrix: VectorMatrix;
  /** Built by the first sparse search. */
  #sparse: SparseIndex | undefined;
  #columns: FieldColumns;
  #livePassages = 0;
  /** The last change that this mirror has applied. */
  #seq = -1;

  constructor(documents: Documents, tenant: number, dimensions: number) {
    this.#documents = documents;
    this.#tenant = tenant;
    this.#dimensions = dimensions;
    this.#matrix = new VectorMatrix(dimensions);
    this.#columns = new FieldColumns();
  }

  /** Vectors in memory. */
  get passages(): number {
    return this.#livePassages;
  }

  /** Applies the changes that any process has committed since the last one applied. */
  synchronise(): void {
    const { oldest, newest } = this.#documents.changeBounds();
    if (newest === this.#seq) return;
    if (this.#seq < 0 || this.#seq < oldest - 1) {
      this.#load();
    } else {
      for (const { removed, added } of this.#documents.changes(this.#tenant, this.#seq)) {
        if (removed !== null) this.#remove(removed);
        if (added !== null) this.#add(added);
      }
      const dead = this.#owners.length - this.#livePassages;
      if (dead >= MIN_DEAD_ROWS && dead >= this.#owners.length / 4) this.#compact();
    }
    this.#seq = newest;
  }

  /** The `depth` best documents by cosine. @param query of unit length */
  nearest(
    query: Float32Array,
    depth: number,
    threshold: number,
    filter: Filter | undefined,
  ): readonly Found[] {
    const selection = filter && this.#select(filter);
    const top = new TopDocuments<Found>(depth, threshold);
    if (selection && selection.passages < SCORE_ONE_BY_ONE_SHARE * this.#livePassages) {
      for (let slot = 0; slot < this.#slots.length; slot++) {
        if (selection.holds[slot] === 0) continue;
        const document = this.#slots[slot]!;
        for (let passage = 0; passage < document.passages; passage++) {
          offer(top, document, passage, this.#matrix.dot(document.row + passage, query));
        }
      }
      return top.ranking;
    }
    this.#matrix.nearest(
      query,
      depth,
      (row, score) => {
        const slot = this.#owners[row]!;
        const document = this.#slots[slot];
        if (!document || selection?.holds[slot] === 0 || score < top.floor - SCORE_ERROR) return;
        offer(top, document, row - document.row, this.#matrix.dot(row, query));
      },
      (score) => score < top.floor - SCORE_ERROR,
    );
    return top.ranking;
  }

  /** The `depth` best documents by BM25. */
  bestTerms(
    query: SparseVector,
    depth: number,
    threshold: number,
    filter: Filter | undefined,
  ): readonly Found[] {
    const selection = filter && this.#select(filter);
    const top = new TopDocuments<Found>(depth, threshold);
    this.#sparse ??= this.#buildSparse();
    const isLive = (row: number) => this.#slots[this.#owners[row]!] !== undefined;
    const scores = this.#sparse.scores(query, {
      rows: this.#owners.length,
      live: this.#livePassages,
      isLive,
    });
    for (let row = 0; row < scores.length; row++) {
      const score = scores[row]!;
      if (score === 0) continue;
      const slot = this.#owners[row]!;
      const document = this.#slots[slot]!;
      if (selection?.holds[slot] !== 0) offer(top, document, row - document.row, score);
    }
    return top.ranking;
  }

  #select(filter: Filter): Selection {
    this.#columns.require(filterFields(filter), this.#slotOf, this.#documents.scan(this.#tenant));
    const holdsFor = compileFilter<number>(filter, (field) => {
      if (field === 'document_id') return (slot) => this.#slots[slot]!.documentId;
      const values = this.#columns.values(field);
      return (slot) => values[slot];
    });
    const holds = new Uint8Array(this.#slots.length);
    let passages = 0;
    for (let slot = 0; slot < this.#slots.length; slot++) {
      const document = this.#slots[slot];
      if (!document || !holdsFor(slot)) continue;
      holds[slot] = 1;
      passages += document.passages;
    }
    return { holds, passages };
  }

  #load(): void {
    this.#seq = -1;
    this.#slots = [];
    this.#owners = [];
    this.#slotOf.clear();
    this.#matrix = new VectorMatrix(this.#dimensions);
    this.#sparse = undefined;
    this.#columns = new FieldColumns();
    this.#livePassages = 0;
    for (const { id, documentId } of this.#documents.ids(this.#tenant)) this.#append(id, documentId);
  }

  #add(id: number): void {
    const row = this.#documents.row(id);
    // The document has been removed since; a later change removes it here.
    if (!row) return;
    let slot = this.#slotOf.get(id);
    if (slot === undefined) slot = this.#append(id, row.documentId);
    this.#columns.set(slot, row);
  }

  #append(id: number, documentId: string): number {
    const slot = this.#slots.length;
    const row = this.#owners.length;
    const vectors = this.#documents.vectors(id);
    for (const vector of vectors) {
      this.#matrix.append(vector);
      this.#owners.push(slot);
    }
    if (this.#sparse) this.#indexTerms(this.#sparse, id, row);
    this.#slots.push({ id, documentId, row, passages: vectors.length });
    this.#slotOf.set(id, slot);
    this.#livePassages += vectors.length;
    return slot;
  }

  #remove(id: number): void {
    const slot = this.#slotOf.get(id);
    if (slot === undefined) return;
    this.#livePassages -= this.#slots[slot]!.passages;
    this.#slots[slot] = undefined;
    this.#slotOf.delete(id);
  }

  #buildSparse(): SparseIndex {
    const sparse = new SparseIndex();
    for (const document of this.#slots) if (document) this.#indexTerms(sparse, document.id, document.row);
    return sparse;
  }

  #indexTerms(sparse: SparseIndex, id: number, firstRow: number): void {
    for (const [passage, terms] of this.#documents.sparseVectors(id).entries()) {
      if (terms) sparse.append(firstRow + passage, terms);
    }
  }

  /** Closes the gaps of removed documents. The other documents keep their order. */
  #compact(): void {
    const rows = new Int32Array(this.#owners.length).fill(-1);
    const kept: number[] = [];
    const slots: MirrorDocument[] = [];
    const owners: number[] = [];
    for (const [slot, document] of this.#slots.entries()) {
      if (!document) continue;
      kept.push(slot);
      const first = owners.length;
      for (let passage = 0; passage < document.passages; passage++) {
        rows[document.row + passage] = owners.length;
        this.#matrix.move(document.row + passage, owners.length);
        owners.push(slots.length);
      }
      this.#slotOf.set(document.id, slots.length);
      slots.push({ ...document, row: first });
    }
    this.#matrix.truncate(owners.length);
    this.#sparse?.compact(rows);
    this.#columns.compact(kept);
    this.#slots = slots;
    this.#owners = owners;
  }
}

function offer(top: TopDocuments<Found>, document: MirrorDocument, passage: number, score: number): void {
  if (score >= top.floor) top.offer({ id: document.id, documentId: document.documentId, passage, score });
}
