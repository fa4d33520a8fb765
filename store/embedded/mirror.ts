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
  /** When documents expire, by row of `documents`, for those that do. */
  readonly #expiries = new Map<number, number>();
  /** The earliest of {@link #expiries}. */
  #nextExpiry = Infinity;
  /** The last change that this mirror has applied. */
  #seq = -1;
  /** The time of the snapshot, in milliseconds since the epoch. */
  #now = 0;

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

  /**
   * Applies the changes that any process has committed since the last one applied, and leaves out what has expired.
   *
   * @param now in milliseconds since the epoch
   */
  synchronise(now: number): void {
    this.#now = now;
    const { oldest, newest } = this.#documents.changes.bounds();
    const seq = this.#seq;
    if (newest !== seq) {
      // Where this fails half way, the next call loads everything.
      this.#seq = -1;
      if (seq < 0 || seq < oldest - 1) this.#load();
      else this.#follow(seq);
      this.#seq = newest;
    }
    if (this.#nextExpiry <= now) this.#dropExpired();
    const dead = this.#owners.length - this.#livePassages;
    if (dead >= MIN_DEAD_ROWS && dead >= this.#owners.length / 4) this.#compact();
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
    this.#columns.require(filterFields(filter), this.#slotOf, this.#documents.scan(this.#tenant, this.#now));
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
    this.#slots = [];
    this.#owners = [];
    this.#slotOf.clear();
    this.#matrix = new VectorMatrix(this.#dimensions);
    this.#sparse = undefined;
    this.#columns = new FieldColumns();
    this.#livePassages = 0;
    this.#expiries.clear();
    this.#nextExpiry = Infinity;
    this.#append(this.#documents.ids(this.#tenant));
    for (const { id, expiresAt } of this.#documents.expiries(this.#tenant)) this.#expire(id, expiresAt);
  }

  /** Applies the changes after `seq`. */
  #follow(seq: number): void {
    const changed = new Set<number>();
    for (const { removed, added } of this.#documents.changes.after(this.#tenant, seq)) {
      if (removed !== null) this.#remove(removed);
      if (added !== null) changed.add(added);
    }
    const rows = [...this.#documents.mirrored([...changed].sort((a, b) => a - b))];
    this.#append(rows.filter(({ id }) => !this.#slotOf.has(id)));
    for (const row of rows) {
      this.#columns.set(this.#slotOf.get(row.id)!, row);
      this.#expire(row.id, row.expiresAt);
    }
  }

  /** Adds documents that are not here yet. @param documents by row, ascending */
  #append(documents: readonly { id: number; documentId: string }[]): void {
    if (documents.length === 0) return;
    const ids = documents.map(({ id }) => id);
    let next = 0;
    let last: MirrorDocument | undefined;
    // Vectors of a document follow each other.
    for (const { document: id, vector } of this.#documents.passages.vectors(ids)) {
      if (last?.id !== id) {
        while (ids[next] !== id) next++;
        last = { id, documentId: documents[next]!.documentId, row: this.#owners.length, passages: 0 };
        this.#slotOf.set(id, this.#slots.length);
        this.#slots.push(last);
      }
      this.#matrix.append(vector);
      this.#owners.push(this.#slots.length - 1);
      last.passages++;
      this.#livePassages++;
    }
    if (this.#sparse) this.#indexTerms(this.#sparse, ids);
  }

  #remove(id: number): void {
    const slot = this.#slotOf.get(id);
    if (slot === undefined) return;
    this.#livePassages -= this.#slots[slot]!.passages;
    this.#slots[slot] = undefined;
    this.#slotOf.delete(id);
    this.#expiries.delete(id);
  }

  #expire(id: number, expiresAt: number | null): void {
    if (expiresAt === null) {
      this.#expiries.delete(id);
      return;
    }
    this.#expiries.set(id, expiresAt);
    this.#nextExpiry = Math.min(this.#nextExpiry, expiresAt);
  }

  #dropExpired(): void {
    this.#nextExpiry = Infinity;
    for (const [id, expiresAt] of this.#expiries) {
      if (expiresAt <= this.#now) this.#remove(id);
      else this.#nextExpiry = Math.min(this.#nextExpiry, expiresAt);
    }
  }

  #buildSparse(): SparseIndex {
    const sparse = new SparseIndex();
    this.#indexTerms(
      sparse,
      [...this.#slotOf.keys()].sort((a, b) => a - b),
    );
    return sparse;
  }

  /** Adds the terms of documents that are here. @param ids rows of `documents`, ascending */
  #indexTerms(sparse: SparseIndex, ids: readonly number[]): void {
    for (const { document, passage, sparse: terms } of this.#documents.passages.terms(ids)) {
      sparse.append(this.#slots[this.#slotOf.get(document)!]!.row + passage, terms);
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
