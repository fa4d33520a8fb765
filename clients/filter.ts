import type { Condition as WireCondition } from '../proto/generated/scalingnote/v1/Condition.ts';
import type { Filter as WireFilter } from '../proto/generated/scalingnote/v1/Filter.ts';
import { wireValue } from './values.ts';

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

/** A filter as the wire has it. @throws {ScalingnoteError} `INVALID_ARGUMENT` for a value that JSON can't write */
export function toWireFilter(filter: Filter, path = 'filter'): WireFilter {
  const clause = (name: string, conditions: readonly Condition[] = []): WireCondition[] =>
    conditions.map((condition, index) => toWireCondition(condition, `${path}.${name}[${index}]`));
  return {
    must: clause('must', filter.must),
    should: clause('should', filter.should),
    mustNot: clause('must_not', filter.mustNot),
  };
}

function toWireCondition(condition: Condition, path: string): WireCondition {
  if ('filter' in condition) return { filter: toWireFilter(condition.filter, `${path}.filter`) };
  const { field } = condition;
  if ('equals' in condition) {
    return { equals: { field, value: wireValue(condition.equals, `${path}.equals.value`) } };
  }
  if ('anyOf' in condition) {
    const values = condition.anyOf.map((value, index) => wireValue(value, `${path}.any_of.values[${index}]`));
    return { anyOf: { field, values } };
  }
  if ('range' in condition) return { range: { field, ...condition.range } };
  return { exists: { field } };
}
