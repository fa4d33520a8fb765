import { invalidArgument } from './errors.ts';
import type { Condition, Filter } from './filter.ts';

/** How people write a filter: the conditions of {@link parseFilter}. */
export const FILTER_SYNTAX =
  'FIELD=VALUE, FIELD!=VALUE, FIELD=A|B, FIELD>N, FIELD>=N, FIELD<N, FIELD<=N, or FIELD alone for "is present"; ' +
  'a field is metadata.KEY, document_id or version; a number or true/false in ' +
  'double quotes is a text';

const CONDITION = /^(?<field>[\w.-]+)(?:(?<operator>!=|>=|<=|=|>|<)(?<value>.*))?$/s;

const BOUNDS = { '>': 'gt', '>=': 'gte', '<': 'lt', '<=': 'lte' } as const;

/**
 * The filter for conditions as people write them (see {@link FILTER_SYNTAX}), all of which have to hold; `undefined`
 * where there is none.
 *
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
