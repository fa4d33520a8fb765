/** Names that differ in more than this share of their letters are not alike. */
const MOST_DIFFERENT = 0.4;

/** The name that is most like one that nobody knows; `undefined` where none is. */
export function nearest(unknown: string, names: readonly string[]): string | undefined {
  const ranked = names
    .map((name) => ({ name, edits: editsBetween(plain(unknown), plain(name)) / Math.max(name.length, 1) }))
    .sort((a, b) => a.edits - b.edits);
  const [best] = ranked;
  return best && best.edits <= MOST_DIFFERENT ? best.name : undefined;
}

/** `is unknown; did you mean "x"?`, or what is known where nothing is alike. */
export function unknownName(unknown: string, names: readonly string[]): string {
  const best = nearest(unknown, names);
  if (best !== undefined) return `is unknown; did you mean "${best}"?`;
  return names.length === 0 ? 'is unknown; there is none here' : `is unknown; there are ${names.join(', ')}`;
}

/** Spellings of a name that differ in case and underscores alone. */
function plain(name: string): string {
  return name.slice(0, 64).replaceAll(/[_-]/g, '').toLowerCase();
}

/** Levenshtein's distance. */
function editsBetween(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [index, letter] of Array.from(a).entries()) {
    const next = [index + 1];
    for (let at = 1; at <= b.length; at++) {
      const swap = row[at - 1]! + Number(letter !== b[at - 1]);
      next.push(Math.min(swap, row[at]! + 1, next[at - 1]! + 1));
    }
    row = next;
  }
  return row.at(-1)!;
}
