import type { Value__Output } from '../../proto/generated/google/protobuf/Value.ts';
import type { Condition__Output } from '../../proto/generated/scalingnote/v1/Condition.ts';
import type { Filter__Output } from '../../proto/generated/scalingnote/v1/Filter.ts';
import type { Range__Output } from '../../proto/generated/scalingnote/v1/Range.ts';
import { inexact, isExact, keysOf, MAX_FILTER_DEPTH, PathError } from '../../store/filter.ts';
import type { Condition, Filter, FilterValue } from '../../store/queries.ts';
import { invalidArgument } from './errors.ts';
import { checkFinite, checkText, MAX_ID_BYTES, MAX_METADATA_BYTES, quoted } from './validate.ts';

/** Most conditions in one filter, nested ones included: each is work for every candidate of a search. */
export const MAX_FILTER_CONDITIONS = 256;
/** Most values of one any-of. */
export const MAX_ANY_OF_VALUES = 256;
/** Longest path of a field. */
export const MAX_FIELD_BYTES = 512;

const METADATA = 'metadata.';

type Test = 'equals' | 'any_of' | 'range' | 'exists';

/** Which tests can be made of the fields that are not metadata. */
const OWN_FIELDS: Readonly<Record<string, readonly Test[]>> = {
  document_id: ['equals', 'any_of'],
  version: ['range'],
};

/**
 * A filter from the wire as the store takes it; `undefined` where it has no conditions and so holds everywhere.
 *
 * @throws {ServiceError} `INVALID_ARGUMENT` that names the path of what is wrong, and the fix
 */
export function parseFilter(filter: Filter__Output | null, path = 'filter'): Filter | undefined {
  if (filter === null) return undefined;
  return parseGroup(filter, path, 1, { conditions: 0 });
}

function parseGroup(
  { must, should, mustNot }: Filter__Output,
  path: string,
  depth: number,
  size: { conditions: number },
): Filter | undefined {
  if (depth > MAX_FILTER_DEPTH) {
    throw invalidArgument(path, `is nested deeper than ${MAX_FILTER_DEPTH} filters; write it flatter`);
  }
  size.conditions += must.length + should.length + mustNot.length;
  if (size.conditions > MAX_FILTER_CONDITIONS) {
    throw invalidArgument(
      path,
      `has more than ${MAX_FILTER_CONDITIONS} conditions; put values of one field together with any_of`,
    );
  }
  if (must.length + should.length + mustNot.length === 0) return undefined;
  const parse = (conditions: readonly Condition__Output[], name: string): Condition[] =>
    conditions.map((condition, index) => parseCondition(condition, `${path}.${name}[${index}]`, depth, size));
  const parsed: Filter = {};
  if (must.length > 0) parsed.must = parse(must, 'must');
  if (should.length > 0) parsed.should = parse(should, 'should');
  if (mustNot.length > 0) parsed.mustNot = parse(mustNot, 'must_not');
  return parsed;
}

function parseCondition(
  condition: Condition__Output,
  path: string,
  depth: number,
  size: { conditions: number },
): Condition {
  const { equals, anyOf, range, exists, filter } = condition;
  if (equals) {
    const field = parseField(equals.field, 'equals', path);
    return { field, equals: parseValue(equals.value, field, `${path}.equals.value`) };
  }
  if (anyOf) {
    const field = parseField(anyOf.field, 'any_of', path);
    return { field, anyOf: parseValues(anyOf.values, field, `${path}.any_of.values`) };
  }
  if (range) {
    const field = parseField(range.field, 'range', path);
    return { field, range: parseRange(range, `${path}.range`) };
  }
  if (exists) return { field: parseField(exists.field, 'exists', path), exists: true };
  if (filter) {
    const nested = parseGroup(filter, `${path}.filter`, depth + 1, size);
    if (nested) return { filter: nested };
    throw invalidArgument(`${path}.filter`, 'is empty; give it a condition or leave it out');
  }
  throw invalidArgument(path, 'has no test; set one of equals, any_of, range, exists, filter');
}

function parseField(field: string, test: Test, conditionPath: string): string {
  const path = `${conditionPath}.${test}.field`;
  if (field === '') throw invalidArgument(path, 'is empty; name a field, such as "metadata.colour"');
  checkText(path, field, MAX_FIELD_BYTES);
  if (field.startsWith(METADATA)) {
    try {
      keysOf(field);
    } catch (error) {
      if (error instanceof PathError) throw invalidArgument(path, `${quoted(field)} ${error.message}`);
      throw error;
    }
    return field;
  }
  const tests = Object.hasOwn(OWN_FIELDS, field) ? OWN_FIELDS[field] : undefined;
  if (tests?.includes(test)) return field;
  if (tests) {
    throw invalidArgument(path, `${quoted(field)} can't be tested by ${test}; use ${tests.join(' or ')}`);
  }
  if (field === 'tenant')
    throw invalidArgument(path, 'a filter has no tenant; set the tenant of the request');
  throw invalidArgument(path, `there is no field ${quoted(field)}; use ${quoted(`${METADATA}${field}`)}`);
}

function parseValue(value: Value__Output | null, field: string, path: string): FilterValue {
  const parsed = scalarOf(value, path);
  if (typeof parsed === 'number') checkNumber(path, parsed);
  if (typeof parsed === 'string') {
    checkText(path, parsed, field === 'document_id' ? MAX_ID_BYTES : MAX_METADATA_BYTES);
  } else if (field === 'document_id') {
    throw invalidArgument(path, `is a ${typeof parsed}; document ids are strings`);
  }
  return parsed;
}

function scalarOf(value: Value__Output | null, path: string): FilterValue {
  switch (value?.kind) {
    case 'stringValue':
      return value.stringValue ?? '';
    case 'numberValue':
      return value.numberValue ?? 0;
    case 'boolValue':
      return value.boolValue ?? false;
    case 'nullValue':
      throw invalidArgument(path, 'is null; to find documents without the field, put exists into must_not');
    case undefined:
      throw invalidArgument(path, 'is not set; set a string, a number or a boolean');
    default:
      throw invalidArgument(path, 'is a list or an object; use a string, a number or a boolean');
  }
}

function parseValues(values: readonly Value__Output[], field: string, path: string): FilterValue[] {
  if (values.length === 0 || values.length > MAX_ANY_OF_VALUES) {
    throw invalidArgument(path, `has ${values.length} values; send 1 to ${MAX_ANY_OF_VALUES}`);
  }
  const parsed = values.map((value, index) => parseValue(value, field, `${path}[${index}]`));
  const odd = parsed.findIndex((value) => typeof value !== typeof parsed[0]);
  if (odd !== -1) {
    throw invalidArgument(
      `${path}[${odd}]`,
      `is a ${typeof parsed[odd]} among values of type ${typeof parsed[0]}; use one type, or two conditions in should`,
    );
  }
  return parsed;
}

function parseRange(range: Range__Output, path: string) {
  const bounds: Extract<Condition, { range: object }>['range'] = {};
  for (const name of ['gt', 'gte', 'lt', 'lte'] as const) {
    const bound = range[name];
    if (bound === undefined) continue;
    checkNumber(`${path}.${name}`, bound);
    bounds[name] = bound;
  }
  if (Object.keys(bounds).length === 0) {
    throw invalidArgument(path, 'has no bound; set gt, gte, lt or lte');
  }
  return bounds;
}

function checkNumber(path: string, value: number): void {
  checkFinite(path, value);
  if (!isExact(value)) throw invalidArgument(path, inexact(value));
}
