import type { SnapshotReader, SnapshotWriter } from './snapshot-file.ts';
import { SparseIndex } from './sparse-index.ts';
import { VectorMatrix } from './vector-matrix.ts';

/** A document whose vectors are in memory. */
export interface MirrorDocument {
  /** Row of `documents`. */
  id: number;
  documentId: string;
  /** A number that no other document has, and that this one has no more once anything of it has changed. */
  state: number;
  /** Row of its first passage; the others follow. */
  row: number;
  passages: number;
}

/** What a mirror holds in memory, but for the fields of filters. */
export interface MirrorImage {
  /** The last change that is in it. */
  seq: number;
  /** By slot; `undefined` for one that was removed. */
  slots: (MirrorDocument | undefined)[];
  /** Slot by row. */
  owners: number[];
  matrix: VectorMatrix;
  /** Of all slots. */
  sparse: SparseIndex;
  /** When documents expire, by row of `documents`, for those that do. */
  expiries: ReadonlyMap<number, number>;
}

/** What a snapshot begins with. */
export interface ImageHead {
  seq: number;
  dimensions: number;
  rows: number;
}

/** Stands for the row of a document that was removed. */
const REMOVED = -1;

/**
 * Writes an image in slices. What was removed is written as zeros. Meanwhile the mirror may take more documents and remove some:
 * those changes are later than the image. It may not renumber its rows.
 *
 * @returns what the file's head has to hold
 */
export function* writeImage(image: MirrorImage, writer: SnapshotWriter): Generator<void, ImageHead, void> {
  const { seq, slots, owners, matrix, sparse, expiries } = image;
  const rows = owners.length;
  const ids = Float64Array.from(slots, (document) => document?.id ?? REMOVED);
  const passages = new Uint32Array(slots.length);
  for (const slot of owners) passages[slot]!++;
  writer.add(ids);
  writer.add(passages);
  writer.add(Buffer.from(JSON.stringify(slots.map((document) => document?.documentId ?? ''))));
  writer.add(Float64Array.from([...expiries].flat()));
  const removed = Uint8Array.from(owners, (slot) => (ids[slot] === REMOVED ? 1 : 0));
  for (const part of sparse.parts((row) => removed[row] === 0)) writer.add(part);
  yield;
  for (const part of matrix.parts(rows, (row) => removed[row] === 1)) {
    writer.add(part.vectors);
    writer.add(part.codes);
    writer.add(Float64Array.of(part.scale, part.error));
    yield;
  }
  return { seq, dimensions: matrix.dimensions, rows };
}

/**
 * Reads an image in slices.
 *
 * @param nextState see {@link MirrorDocument.state}
 * @throws {BadSnapshot}
 */
export function* readImage(
  { seq, dimensions, rows }: ImageHead,
  reader: SnapshotReader,
  nextState: () => number,
): Generator<void, MirrorImage, void> {
  const ids = reader.doubles();
  const passages = reader.numbers();
  const names = reader.json() as string[];
  const times = reader.doubles();
  const slots: (MirrorDocument | undefined)[] = [];
  const owners: number[] = [];
  for (const [slot, id] of ids.entries()) {
    const document = { id, documentId: names[slot]!, row: owners.length, passages: passages[slot]! };
    slots.push(id === REMOVED ? undefined : { ...document, state: nextState() });
    for (let passage = 0; passage < document.passages; passage++) owners.push(slot);
  }
  const expiries = new Map<number, number>();
  for (let index = 0; index < times.length; index += 2) expiries.set(times[index]!, times[index + 1]!);
  yield;
  const sparse = SparseIndex.of(reader.numbers(), reader.numbers(), reader.numbers(), reader.floats());
  yield;
  const matrix = new VectorMatrix(dimensions);
  while (matrix.length < rows) {
    const [vectors, codes] = [reader.floats(), reader.codes()];
    const [scale, error] = reader.doubles() as unknown as [number, number];
    matrix.adopt({ vectors, codes, scale, error });
    yield;
  }
  return { seq, slots, owners, matrix, sparse, expiries };
}
