import { invalidArgument } from './errors.ts';
import type { Condition, Filter } from './filter.ts';

/** How people write the conditions of a filter; see {@link parseFilter}. */
export const FILTER_SYNTAX =
  'FIELD=VALUE, FIELD!=VALUE, FIELD=A|B, FIELD>N, FIELD>=N, FIELD<N, FIELD<=N, or FIELD alone for "has the field"; ' +
  'FIELD is metadata.KEY, document_id or version; quote numbers, true and false ("2") to compare them as text';

const CONDITION = /^(?<field>[\w.-]+)(?:(?<operator>!=|>=|<=|=|>|<)(?<value>.*))?$/s;

const BOUNDS = { '>': 'gt', '>=': 'gte', '<': 'lt', '<=': 'lte' } as const;

/**
 * Parses conditions as people write them (see {@link FILTER_SYNTAX}). A document has to match all of them.
 *
 * @returns `undefined` if there are no conditions
 * @throws {ScalingnoteError} `INVALID_ARGUMENT` quoting the condition
 */
export function parseFilter(conditions: readonly string[]): Filter | undefined {
  if (conditions.length === 0) return undefined;
  const must: Condition[] = [];
  const mustNot: Condition[] = [];
  for (const text of conditions) {
    const match = CONDITION.exec(text)?.groups;
    if (match === undefined)
      throw invalidArgument('filter', `${JSON.stringify(text)}: write ${FILTER_SYNTAX}`);
    const { field = '', operator, value = '' } = match;
    if (operator === undefined) must.push({ field, exists: true });
    else if (operator === '!=') mustNot.push({ field, equals: literal(value) });
    else if (operator === '=') must.push(equality(field, value));
    else must.push({ field, range: { [BOUNDS[operator as keyof typeof BOUNDS]]: number(text, value) } });
  }
  return { must, mustNot };
}

function equality(field: string, value: string): Condition {
  const choices = value.split('|');
  return choices.length === 1 ? { field, equals: literal(value) } : { field, anyOf: choices.map(literal) };
}

function literal(text: string): string | number | boolean {
  if (text === 'true' || text === 'false') return text === 'true';
  if (/^".*"$/s.test(text)) return text.slice(1, -1);
  const value = Number(text);
  return text.trim() !== '' && Number.isFinite(value) ? value : text;
}

function number(condition: string, text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) {
    throw invalidArgument('filter', `${JSON.stringify(condition)}: ${JSON.stringify(text)} is not a number`);
  }
  return value;
}
