import type { Condition, Filter, FilterValue } from '../proto/filter.ts';
import type { Condition as WireCondition } from '../proto/generated/scalingnote/v1/Condition.ts';
import type { Filter as WireFilter } from '../proto/generated/scalingnote/v1/Filter.ts';
import { wireValue } from './values.ts';

export type { Condition, Filter, FilterValue };

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
