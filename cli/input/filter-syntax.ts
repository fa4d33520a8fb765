import type { Condition, Filter } from '../../clients/index.ts';
import { UsageError } from '../output/print.ts';

/** How a filter is written on the command line; shown by `--help`. */
export const FILTER_SYNTAX =
  'FIELD=VALUE, FIELD!=VALUE, FIELD=A|B, FIELD>N, FIELD>=N, FIELD<N, FIELD<=N, or FIELD alone for "is present"; ' +
  'repeat for more, all have to hold; a field is metadata.KEY, document_id or version; a number or true/false in ' +
  'double quotes is a text';

const CONDITION = /^(?<field>[\w.-]+)(?:(?<operator>!=|>=|<=|=|>|<)(?<value>.*))?$/s;

const BOUNDS = { '>': 'gt', '>=': 'gte', '<': 'lt', '<=': 'lte' } as const;

/** What `--filter` flags stand for; `undefined` where there is none. @throws {UsageError} naming the flag */
export function parseFilter(flags: readonly string[]): Filter | undefined {
  if (flags.length === 0) return undefined;
  const must: Condition[] = [];
  const mustNot: Condition[] = [];
  for (const flag of flags) {
    const match = CONDITION.exec(flag)?.groups;
    if (match === undefined) throw new UsageError(`--filter ${JSON.stringify(flag)}: write ${FILTER_SYNTAX}`);
    const { field = '', operator, value = '' } = match;
    if (operator === undefined) must.push({ field, exists: true });
    else if (operator === '!=') mustNot.push({ field, equals: literal(value) });
    else if (operator === '=') must.push(equality(field, value));
    else must.push({ field, range: { [BOUNDS[operator as keyof typeof BOUNDS]]: number(flag, value) } });
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

function number(flag: string, text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) {
    throw new UsageError(`--filter ${JSON.stringify(flag)}: ${JSON.stringify(text)} is not a number`);
  }
  return value;
}
