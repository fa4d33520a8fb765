/**
 * The table spells names as the protocol does, `score_threshold`; the TypeScript client spells them `scoreThreshold`.
 * What lies in metadata, in `set` of a patch or in a value that a filter compares with belongs to the caller, and stays.
 */
export function camelCased(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(camelCased);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [
      key.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
      key === 'metadata' || key === 'set' || key === 'equals' ? (item as unknown) : camelCased(item),
    ]),
  );
}

/** A field as the table spells it: a client names a field as its caller wrote it. */
export function neutralName(field: string): string {
  return field.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
