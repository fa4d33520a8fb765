/** How often each token is in each text: a sparse matrix, row by row (CSR), in memory that threads share. */
export interface TokenCounts {
  rows: number;
  /** Where each row begins in `tokens`; one more than there are rows. */
  starts: Int32Array;
  tokens: Int32Array;
  counts: Float32Array;
}

export function sharedFloats(length: number): Float32Array<SharedArrayBuffer> {
  return new Float32Array(new SharedArrayBuffer(length * Float32Array.BYTES_PER_ELEMENT));
}

function sharedInts(length: number): Int32Array<SharedArrayBuffer> {
  return new Int32Array(new SharedArrayBuffer(length * Int32Array.BYTES_PER_ELEMENT));
}

/** Counts tokens. */
export function countTokens(texts: readonly (readonly number[])[]): TokenCounts {
  const starts = sharedInts(texts.length + 1);
  for (const [row, ids] of texts.entries()) starts[row + 1] = starts[row]! + new Set(ids).size;
  const tokens = sharedInts(starts.at(-1)!);
  const counts = sharedFloats(tokens.length);
  for (const [row, ids] of texts.entries()) {
    const inRow = new Map<number, number>();
    for (const id of ids) inRow.set(id, (inRow.get(id) ?? 0) + 1);
    let entry = starts[row]!;
    for (const [id, count] of inRow) {
      tokens[entry] = id;
      counts[entry] = count;
      entry++;
    }
  }
  return { rows: texts.length, starts, tokens, counts };
}

/** Tokens of a text. */
export function lengthOf({ starts, counts }: TokenCounts, row: number): number {
  let length = 0;
  for (let entry = starts[row]!; entry < starts[row + 1]!; entry++) length += counts[entry]!;
  return length;
}

/** The sum of a text's token vectors, into `out`. @param vectors tokens × the length of `out` */
export function sumVectors(texts: TokenCounts, row: number, vectors: Float32Array, out: Float32Array): void {
  const { starts, tokens, counts } = texts;
  out.fill(0);
  for (let entry = starts[row]!; entry < starts[row + 1]!; entry++) {
    const from = tokens[entry]! * out.length;
    for (let dimension = 0; dimension < out.length; dimension++) {
      out[dimension]! += counts[entry]! * vectors[from + dimension]!;
    }
  }
}
