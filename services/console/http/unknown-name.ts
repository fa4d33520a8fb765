import { nearest } from '../../../proto/nearest.ts';

/** `is unknown; did you mean "x"?`, or what is known where nothing is alike. */
export function unknownName(unknown: string, names: readonly string[]): string {
  const best = nearest(unknown, names);
  if (best !== undefined) return `is unknown; did you mean "${best}"?`;
  return names.length === 0 ? 'is unknown; there is none here' : `is unknown; there are ${names.join(', ')}`;
}
