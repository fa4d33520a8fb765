/**
 * How many typing errors are between two words.
 */

let before = new Uint8Array(0);
let last = new Uint8Array(0);
let row = new Uint8Array(0);

/**
 * Letters that were left out, put in, replaced, or swapped with their neighbour (optimal string alignment).
 *
 * @returns `most + 1` for anything above `most`
 */
export function editDistance(a: string, b: string, most: number): number {
  const tooMany = most + 1;
  if (Math.abs(a.length - b.length) > most) return tooMany;
  const width = b.length + 1;
  if (row.length < width) {
    before = new Uint8Array(2 * width);
    last = new Uint8Array(2 * width);
    row = new Uint8Array(2 * width);
  }
  for (let column = 0; column < width; column++) last[column] = Math.min(column, tooMany);
  for (let line = 1; line <= a.length; line++) {
    const letter = a.charCodeAt(line - 1);
    row[0] = Math.min(line, tooMany);
    let least = row[0];
    for (let column = 1; column < width; column++) {
      const same = letter === b.charCodeAt(column - 1);
      let edits = Math.min(last[column - 1]! + (same ? 0 : 1), last[column]! + 1, row[column - 1]! + 1);
      const swapped =
        line > 1 &&
        column > 1 &&
        letter === b.charCodeAt(column - 2) &&
        a.charCodeAt(line - 2) === b.charCodeAt(column - 1);
      if (swapped) edits = Math.min(edits, before[column - 2]! + 1);
      row[column] = Math.min(edits, tooMany);
      if (edits < least) least = edits;
    }
    if (least > most) return tooMany;
    [before, last, row] = [last, row, before];
  }
  return last[width - 1]!;
}

/** A bit for each letter that a word has. Words that differ by one edit differ in two bits at most. */
export function lettersOf(word: string): number {
  let letters = 0;
  for (let index = 0; index < word.length; index++) letters |= 1 << (word.charCodeAt(index) % 32);
  return letters >>> 0;
}

/** How many bits two sets of letters do not share. */
export function lettersApart(a: number, b: number): number {
  let bits = a ^ b;
  bits -= (bits >>> 1) & 0x55555555;
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333);
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
