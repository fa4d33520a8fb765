/** A value that a filter compares with. */
export type FilterValue = string | number | boolean;

/**
 * One condition on one field, or a nested filter. A field is `metadata.KEY`, with dots into nested objects (not into
 * lists), `document_id` or `version`. Values of different types are never equal, and a range holds for numbers alone.
 * On a list, `equals` and `anyOf` hold where some element does, `range` likewise. `exists` holds where the field is
 * present and neither null nor an empty list.
 */
export type Condition =
  | { field: string; equals: FilterValue }
  | { field: string; anyOf: readonly FilterValue[] }
  | { field: string; range: { gt?: number; gte?: number; lt?: number; lte?: number } }
  | { field: string; exists: true }
  | { filter: Filter };

/** Holds where every `must`, at least one `should` (if any is given) and no `mustNot` does. */
export interface Filter {
  must?: readonly Condition[];
  should?: readonly Condition[];
  mustNot?: readonly Condition[];
}
