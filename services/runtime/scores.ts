/** What to match by; see `SearchMode` in the contract. */
export type Mode = 'dense' | 'sparse' | 'hybrid';

/** Which scores a search can give. */
export const SCORES: Readonly<Record<Mode, { from: number; to: number; scores: string }>> = {
  dense: { from: -1, to: 1, scores: 'by cosine' },
  sparse: { from: 0, to: Infinity, scores: 'by BM25' },
  // First in both rankings.
  hybrid: { from: 0, to: 1, scores: 'by both rankings, fused' },
};
