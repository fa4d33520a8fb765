import { invalidArgument } from './errors.ts';
import type { Condition, Filter } from './filter.ts';

/** How people write the conditions of a filter; see {@link parseFilter}. */
export const FILTER_SYNTAX =
  'FIELD=VALUE, FIELD!=VALUE, FIELD=A|B, FIELD>N, FIELD>=N, FIELD<N, FIELD<=N, or FIELD alone for "has the field"; ' +
  'FIELD is metadata.KEY, document_id or version; quote a KEY with other than letters, digits, "_" and "-" ' +
  '(metadata."unit.price"); quote numbers, true, false and | ("2") to compare them as text';

const KEY = String.raw`(?:[\p{L}\p{N}_-]+|"[^"]*")`;
const CONDITION = new RegExp(
  String.raw`^(?<field>${KEY}(?:\.${KEY})*)(?:(?<operator>!=|>=|<=|=|>|<)(?<value>.*))?$`,
  'su',
);

/** One choice of several: in quotes as a whole, or up to the next bar. */
const CHOICE = /(?:^|\|)(?<choice>"[^"]*"(?=\||$)|[^|]*)/gs;

/** What is read as a number: decimal, as JSON writes it and a little more loosely. */
const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;

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
    else if (operator === '!=') mustNot.push({ field, equals: literal(text, value) });
    else if (operator === '=') must.push(equality(field, text, value));
    else must.push({ field, range: { [BOUNDS[operator as keyof typeof BOUNDS]]: bound(text, value) } });
  }
  return { must, mustNot };
}

function equality(field: string, condition: string, value: string): Condition {
  const choices = [...value.matchAll(CHOICE)].map(({ groups }) => groups?.['choice'] ?? '');
  const literals = choices.map((choice) => literal(condition, choice));
  return literals.length === 1 ? { field, equals: literals[0]! } : { field, anyOf: literals };
}

function literal(condition: string, text: string): string | number | boolean {
  if (text === 'true' || text === 'false') return text === 'true';
  if (/^".*"$/s.test(text)) return text.slice(1, -1);
  return NUMBER.test(text) ? number(condition, text) : text;
}

function bound(condition: string, text: string): number {
  if (NUMBER.test(text)) return number(condition, text);
  throw invalidArgument('filter', `${JSON.stringify(condition)}: ${JSON.stringify(text)} is not a number`);
}

/** @throws {ScalingnoteError} for a number that would be another one where it arrives */
function number(condition: string, text: string): number {
  const value = Number(text);
  if (Math.abs(value) <= Number.MAX_SAFE_INTEGER) return value;
  throw invalidArgument(
    'filter',
    `${JSON.stringify(condition)}: ${text} is beyond 2^53 - 1, where numbers are not exact; keep such values as text, ` +
      `and compare with text, in quotes: "${text}"`,
  );
}
