import type { Condition as WireCondition } from '../proto/generated/scalingnote/v1/Condition.ts';
import type { Filter as WireFilter } from '../proto/generated/scalingnote/v1/Filter.ts';
import { toValue } from '../proto/struct.ts';

/** A value that a filter compares with. */
export type FilterValue = string | number | boolean;

/**
 * One condition on one field, or a nested filter. A field is `metadata.KEY` (dots go into nested objects),
 * `document_id` or `version`.
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

/** A filter as the wire has it. */
export function toWireFilter(filter: Filter): WireFilter {
  return {
    must: (filter.must ?? []).map(toWireCondition),
    should: (filter.should ?? []).map(toWireCondition),
    mustNot: (filter.mustNot ?? []).map(toWireCondition),
  };
}

function toWireCondition(condition: Condition): WireCondition {
  if ('filter' in condition) return { filter: toWireFilter(condition.filter) };
  const { field } = condition;
  if ('equals' in condition) return { equals: { field, value: toValue(condition.equals, `${field}.equals`) } };
  if ('anyOf' in condition) {
    return { anyOf: { field, values: condition.anyOf.map((value) => toValue(value, `${field}.anyOf`)) } };
  }
  if ('range' in condition) return { range: { field, ...condition.range } };
  return { exists: { field } };
}
