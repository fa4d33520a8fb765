import { compileFilter, filterFields } from '../filter.ts';
import type { Ranked } from '../ranking.ts';
import type { Filter } from '../queries.ts';
import type { SparseVector } from '../document.ts';
import { FieldColumns } from './field-columns.ts';
import type { Documents } from './documents.ts';
import { type ImageHead, type MirrorDocument, type MirrorImage, readImage } from './mirror-image.ts';
import type { VectorRow } from './passages.ts';
import type { Slice } from './slice.ts';
import type { Change } from './change-log.ts';
import type { SnapshotReader } from './snapshot-file.ts';
import { SparseIndex } from './sparse-index.ts';
import { TopDocuments } from './top-documents.ts';
import { VectorMatrix } from './vector-matrix.ts';

/** A document that a search found. */
export interface Found extends Ranked {
  /** Row of `documents`. */
  id: number;
  /** A number that no other document has, and that this one has no more once anything of it has changed. */
  state: number;
}

/** Where a mirror may have been kept, so that it need not be read row by row. */
export interface SavedMirror {
  /** @param oldest the oldest change that the log has */
  open(oldest: number): SnapshotReader | undefined;
  /** What was opened is not what was written. */
  reject(error: unknown): void;
  /** What was opened is in memory. */
  restored(mirror: Mirror): void;
}

/** A mirror that is being loaded: from a snapshot, or else the names of its documents first, then their vectors by row. */
interface Loading {
  /** The newest change when it began. */
  seq: number;
  /** The highest row of `documents` when it began; those above it are in the change log. */
  lastId: number;
  /** Document ids by row of `documents`. */
  names: Map<number, string>;
  /** The last document id that was read. */
  after: string;
  /** The snapshot, while it is being read. */
  image?: { reader: SnapshotReader; steps: Generator<void, MirrorImage, void> } | undefined;
  /** Present once all names are there. */
  vectors?: Iterator<VectorRow, void>;
}

/** What a search needs of a mirror besides its vectors. */
export interface Needs {
  /** The terms of all passages. @default false */
  sparse?: boolean;
  /** The fields of a filter. */
  filter?: Filter | undefined;
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

/** Changes to apply, and documents to index, before a look at the clock. */
const STEP_CHANGES = 64;
const STEP_DOCUMENTS = 32;

/** Close the gaps of removed documents when they are a quarter of all rows, and at least this many. */
const MIN_DEAD_ROWS = 1024;

/** The last {@link Found.state} of any mirror. */
let lastState = 0;

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
  readonly #saved: SavedMirror | undefined;
  #slots: (MirrorDocument | undefined)[] = [];
  /** Slot by row. */
  #owners: number[] = [];
  /** Slot by row of `documents`. */
  readonly #slotOf = new Map<number, number>();
  #matrix: VectorMatrix;
  /** Of the slots below {@link #indexed}; made by the first sparse search. */
  #sparse: SparseIndex | undefined;
  #indexed = 0;
  #loading: Loading | undefined;
  #columns: FieldColumns;
  #livePassages = 0;
  /** When documents expire, by row of `documents`, for those that do. */
  readonly #expiries = new Map<number, number>();
  /** The earliest of {@link #expiries}. */
  #nextExpiry = Infinity;
  /** The last change that this mirror has applied. */
  #seq = -1;
  #applied = 0;
  #layout = 0;
  /** The time of the transaction, in milliseconds since the epoch. */
  #now = 0;

  constructor(documents: Documents, tenant: number, dimensions: number, saved?: SavedMirror) {
    this.#documents = documents;
    this.#saved = saved;
    this.#tenant = tenant;
    this.#dimensions = dimensions;
    this.#matrix = new VectorMatrix(dimensions);
    this.#columns = new FieldColumns();
  }

  /** Vectors in memory. */
  get passages(): number {
    return this.#livePassages;
  }

  /** The last change that it has applied; -1 before it is loaded. */
  get seq(): number {
    return this.#seq;
  }

  /** How many changes it has applied. */
  get applied(): number {
    return this.#applied;
  }

  /** Grows when rows get other numbers. */
  get layout(): number {
    return this.#layout;
  }

  /** What it holds, where that includes all terms. It goes on changing as the mirror does. */
  image(): MirrorImage | undefined {
    if (this.#seq < 0 || !this.#sparse || this.#indexed < this.#slots.length) return undefined;
    return {
      seq: this.#seq,
      slots: this.#slots,
      owners: this.#owners,
      matrix: this.#matrix,
      sparse: this.#sparse,
      expiries: this.#expiries,
    };
  }

  /**
   * Comes closer to what any process has committed, and to what a search needs, until the slice is spent. What is done stays
   * done, whoever asks next.
   *
   * @param now in milliseconds since the epoch; what has expired is left out
   * @returns whether the mirror agrees with the transaction that the caller is in, and has what it needs
   */
  advance(now: number, slice: Slice, needs: Needs = {}): boolean {
    this.#now = now;
    const { oldest, newest } = this.#documents.changes.bounds();
    if (!this.#loading && (this.#seq < 0 || this.#seq < oldest - 1)) this.#beginLoad(oldest, newest);
    if (this.#loading && !this.#load(this.#loading, slice)) return false;
    // The log may have been cut while this mirror was loading.
    if (this.#seq < oldest - 1 || !this.#follow(newest, slice)) return false;
    if (this.#nextExpiry <= now) this.#dropExpired();
    const dead = this.#owners.length - this.#livePassages;
    if (dead >= MIN_DEAD_ROWS && dead >= this.#owners.length / 4) this.#compact();
    if (needs.sparse === true && !this.#index(slice)) return false;
    return needs.filter === undefined || this.#requireFields(needs.filter, slice);
  }

  /** The `depth` best documents by cosine, after {@link advance}. @param query of unit length */
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
      (row) => {
        const slot = this.#owners[row]!;
        const document = this.#slots[slot];
        if (!document || selection?.holds[slot] === 0) return;
        offer(top, document, row - document.row, this.#matrix.dot(row, query));
      },
      (atMost) => atMost < top.floor,
    );
    return top.ranking;
  }

  /** The `depth` best documents by BM25, after {@link advance}. */
  bestTerms(
    query: SparseVector,
    depth: number,
    threshold: number,
    filter: Filter | undefined,
  ): readonly Found[] {
    const selection = filter && this.#select(filter);
    const top = new TopDocuments<Found>(depth, threshold);
    const isLive = (row: number) => this.#slots[this.#owners[row]!] !== undefined;
    const scores = this.#sparse!.scores(query, {
      rows: this.#owners.length,
      live: this.#livePassages,
      isLive,
    });
    for (let row = 0; row < scores.length; row++) {
      const score = scores[row]!;
      // Most rows have no term, or less than what is kept already.
      if (score === 0 || score < top.floor) continue;
      const slot = this.#owners[row]!;
      const document = this.#slots[slot]!;
      if (selection?.holds[slot] !== 0) offer(top, document, row - document.row, score);
    }
    return top.ranking;
  }

  #select(filter: Filter): Selection {
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

  #beginLoad(oldest: number, newest: number): void {
    this.#loading?.image?.reader.close();
    this.#seq = -1;
    this.#layout++;
    this.#slots = [];
    this.#owners = [];
    this.#slotOf.clear();
    this.#matrix = new VectorMatrix(this.#dimensions);
    this.#sparse = undefined;
    this.#columns = new FieldColumns();
    this.#livePassages = 0;
    this.#expiries.clear();
    this.#nextExpiry = Infinity;
    this.#loading = { seq: newest, lastId: this.#documents.lastId(), names: new Map(), after: '' };
    const reader = this.#saved?.open(oldest);
    if (!reader) return;
    const steps = readImage(reader.head as ImageHead, reader, () => ++lastState);
    this.#loading.image = { reader, steps };
  }

  /** @returns whether everything is there */
  #load(loading: Loading, slice: Slice): boolean {
    // Where this fails half way, the next call loads everything again.
    this.#loading = undefined;
    if (loading.image) {
      const image = this.#restore(loading.image, slice);
      if (image === 'more') return this.#pause(loading);
      loading.image = undefined;
      if (image) {
        this.#adopt(image);
        return true;
      }
    }
    while (!loading.vectors) {
      const names = this.#documents.ids(this.#tenant, loading.after, loading.lastId);
      for (const { id, documentId } of names) loading.names.set(id, documentId);
      if (names.length > 0) {
        loading.after = names.at(-1)!.documentId;
      } else {
        const ids = Float64Array.from(loading.names.keys()).sort();
        loading.vectors = this.#documents.passages.vectors(Array.from(ids));
      }
      if (slice.spent) return this.#pause(loading);
    }
    for (let next = loading.vectors.next(); next.done !== true; next = loading.vectors.next()) {
      this.#append(next.value, loading.names.get(next.value.document)!);
      if (slice.spent) return this.#pause(loading);
    }
    for (const { id, expiresAt } of this.#documents.expiries(this.#tenant)) this.#expire(id, expiresAt);
    this.#seq = loading.seq;
    return true;
  }

  /** Reads on in a snapshot. @returns what it holds; `undefined` where it is of no use */
  #restore({ reader, steps }: NonNullable<Loading['image']>, slice: Slice): MirrorImage | 'more' | undefined {
    try {
      for (;;) {
        const step = steps.next();
        if (step.done === true) {
          reader.close();
          return step.value;
        }
        if (slice.spent) return 'more';
      }
    } catch (error) {
      reader.close();
      this.#saved!.reject(error);
      return undefined;
    }
  }

  #adopt({ seq, slots, owners, matrix, sparse, expiries }: MirrorImage): void {
    this.#slots = slots;
    this.#owners = owners;
    this.#matrix = matrix;
    this.#sparse = sparse;
    this.#indexed = slots.length;
    for (const [slot, document] of slots.entries()) {
      if (!document) continue;
      this.#slotOf.set(document.id, slot);
      this.#livePassages += document.passages;
    }
    for (const [id, expiresAt] of expiries) this.#expire(id, expiresAt);
    this.#seq = seq;
    this.#saved!.restored(this);
  }

  #pause(loading: Loading): false {
    this.#loading = loading;
    return false;
  }

  /** Applies the changes up to `newest`. @returns whether all are applied */
  #follow(newest: number, slice: Slice): boolean {
    while (this.#seq !== newest) {
      const changes = this.#documents.changes.after(this.#tenant, this.#seq, STEP_CHANGES);
      // Where this fails half way, the next call loads everything.
      this.#seq = -1;
      this.#apply(changes);
      this.#applied += changes.length;
      this.#seq = changes.length < STEP_CHANGES ? newest : changes.at(-1)!.seq;
      if (this.#seq !== newest && slice.spent) return false;
    }
    return true;
  }

  #apply(changes: readonly Change[]): void {
    const changed = new Set<number>();
    for (const { removed, added } of changes) {
      if (removed !== null) this.#remove(removed);
      if (added !== null) changed.add(added);
    }
    const rows = [...this.#documents.mirrored([...changed].sort((a, b) => a - b))];
    const names = new Map(rows.map(({ id, documentId }) => [id, documentId]));
    const added = rows.map(({ id }) => id).filter((id) => !this.#slotOf.has(id));
    for (const vector of this.#documents.passages.vectors(added)) {
      this.#append(vector, names.get(vector.document)!);
    }
    for (const row of rows) {
      const slot = this.#slotOf.get(row.id);
      // One without passages has none.
      if (slot === undefined) continue;
      this.#slots[slot]!.state = ++lastState;
      this.#columns.set(slot, row);
      this.#expire(row.id, row.expiresAt);
    }
  }

  /** Adds the next vector. Those of a document follow each other, and later documents have higher rows. */
  #append({ document: id, vector }: VectorRow, documentId: string): void {
    let last = this.#slots.at(-1);
    if (last?.id !== id) {
      last = { id, documentId, state: ++lastState, row: this.#owners.length, passages: 0 };
      this.#slotOf.set(id, this.#slots.length);
      this.#slots.push(last);
    }
    this.#matrix.append(vector);
    this.#owners.push(this.#slots.length - 1);
    last.passages++;
    this.#livePassages++;
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

  /** Indexes the terms of documents that are not indexed yet. @returns whether all are */
  #index(slice: Slice): boolean {
    let sparse = this.#sparse;
    sparse?.make();
    if (!sparse) {
      sparse = new SparseIndex();
      this.#indexed = 0;
    }
    // Where this fails half way, the next call indexes everything again.
    this.#sparse = undefined;
    while (this.#indexed < this.#slots.length) {
      const end = Math.min(this.#indexed + STEP_DOCUMENTS, this.#slots.length);
      const ids = this.#slots.slice(this.#indexed, end).flatMap((document) => document?.id ?? []);
      for (const { document, passage, sparse: terms } of this.#documents.passages.terms(ids)) {
        sparse.append(this.#slots[this.#slotOf.get(document)!]!.row + passage, terms);
      }
      this.#indexed = end;
      if (end < this.#slots.length && slice.spent) break;
    }
    this.#sparse = sparse;
    return this.#indexed === this.#slots.length;
  }

  #requireFields(filter: Filter, slice: Slice): boolean {
    return this.#columns.require(
      filterFields(filter),
      this.#slotOf,
      (after) => this.#documents.few(this.#tenant, this.#now, after),
      slice,
    );
  }

  /** Closes the gaps of removed documents. The other documents keep their order. */
  #compact(): void {
    this.#layout++;
    const rows = new Int32Array(this.#owners.length).fill(-1);
    const kept: number[] = [];
    const slots: MirrorDocument[] = [];
    const owners: number[] = [];
    let indexed = 0;
    for (const [slot, document] of this.#slots.entries()) {
      if (!document) continue;
      if (slot < this.#indexed) indexed++;
      kept.push(slot);
      const first = owners.length;
      for (let passage = 0; passage < document.passages; passage++) {
        rows[document.row + passage] = owners.length;
        owners.push(slots.length);
      }
      if (first !== document.row) this.#matrix.move(document.row, first, document.passages);
      document.row = first;
      this.#slotOf.set(document.id, slots.length);
      slots.push(document);
    }
    this.#indexed = indexed;
    this.#matrix.truncate(owners.length);
    this.#sparse?.compact(rows);
    this.#columns.compact(kept);
    this.#slots = slots;
    this.#owners = owners;
  }
}

function offer(
  top: TopDocuments<Found>,
  { id, documentId, state }: MirrorDocument,
  passage: number,
  score: number,
): void {
  if (score >= top.floor) top.offer({ id, documentId, state, passage, score });
}
