/** What is longer is no slip of one of our names, and would take long to compare. */
const LONGEST_NAME = 64;

/** The candidate that differs least from a name, or whose last words do, if it is near enough to be a slip. */
export function nearest(name: string, candidates: readonly string[]): string | undefined {
  if (name.length > LONGEST_NAME) return undefined;
  const plain = squeeze(name);
  let best: { candidate: string; distance: number } | undefined;
  for (const candidate of candidates) {
    const words = candidate.split(/(?<=[a-z])(?=[A-Z])|_/);
    for (let from = 0; from < words.length; from++) {
      const end = words.slice(from).join('');
      // A whole name is nearer than the end of another.
      const distance = editDistance(plain, squeeze(end)) + (from === 0 ? 0 : 0.5);
      if (distance <= Math.max(1, end.length / 3) && distance < (best?.distance ?? Infinity)) {
        best = { candidate, distance };
      }
    }
  }
  return best?.candidate;
}

const squeeze = (name: string): string => name.toLowerCase().replaceAll(/[-_\s]/g, '');

/** How many letters have to be added, removed, replaced or swapped with their neighbour. */
function editDistance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let least = Math.min(row[j - 1]! + 1, rows[i - 1]![j]! + 1, rows[i - 1]![j - 1]! + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, rows[i - 2]![j - 2]! + 1);
      }
      row.push(least);
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}
