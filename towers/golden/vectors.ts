/** Steps of a component of a unit vector in 16 bits: rounding moves a vector of 4 096 dimensions by 2e-7 at the most. */
const STEPS = 32_767;

/** Rows at unit length as 16-bit whole numbers, little end first, row after row. */
export function toFixed(rows: readonly Float32Array[]): Buffer {
  const bytes = Buffer.alloc(2 * rows.reduce((sum, row) => sum + row.length, 0));
  let at = 0;
  for (const row of rows) {
    const length = Math.hypot(...row);
    for (const component of row) at = bytes.writeInt16LE(Math.round((component / length) * STEPS), at);
  }
  return bytes;
}

/** What {@link toFixed} took, but for the rounding. */
export function fromFixed(bytes: Buffer): Float32Array {
  return Float32Array.from(
    { length: bytes.length >>> 1 },
    (_, index) => bytes.readInt16LE(2 * index) / STEPS,
  );
}

/** Views of the rows of a matrix. */
export function rowsOf(matrix: Float32Array, columns: number): Float32Array[] {
  return Array.from({ length: matrix.length / columns }, (_, row) =>
    matrix.subarray(row * columns, (row + 1) * columns),
  );
}

/** 1 − cosine, 0 to 2; infinite where one of them has no direction. */
export function cosineDistance(left: Float32Array, right: Float32Array): number {
  let dot = 0;
  let leftSquares = 0;
  let rightSquares = 0;
  for (let index = 0; index < left.length; index++) {
    const [a, b] = [left[index]!, right[index]!];
    dot += a * b;
    leftSquares += a * a;
    rightSquares += b * b;
  }
  const distance = 1 - dot / Math.sqrt(leftSquares * rightSquares);
  return Number.isFinite(distance) ? Math.max(0, distance) : Infinity;
}

/** Largest step of a component in 8 bits. */
const BYTE_STEPS = 127;

/** Rows as 8-bit whole numbers, each row by its largest component: that moves a cosine by 0.00003. */
export function toBytes(rows: readonly Float32Array[]): Buffer {
  return Buffer.concat(
    rows.map((row) => {
      const largest = row.reduce((most, component) => Math.max(most, Math.abs(component)), 0);
      return Buffer.from(Int8Array.from(row, (component) => Math.round((component / largest) * BYTE_STEPS)));
    }),
  );
}

/** The directions of what {@link toBytes} took. */
export function fromBytes(bytes: Buffer): Float32Array {
  return Float32Array.from({ length: bytes.length }, (_, index) => bytes.readInt8(index) / BYTE_STEPS);
}
