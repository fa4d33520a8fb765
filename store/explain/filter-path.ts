import { documentFilter, type FilteredDocument, metadataPath, readPath } from '../filter.ts';
import type { Condition, Filter } from '../queries.ts';

/** The condition that keeps a document out of an answer. */
export interface Removal {
  /** Where it stands in the request: `filter.must[0]`; `filter.should` where none of several holds. */
  path: string;
  /** What it asks for, and what the document has, in words. */
  why: string;
}

/** Most characters of a value that a message shows. */
const SHOWN = 64;

/**
 * The first condition of a filter that does not let a document through; `undefined` where the filter holds. Paths are
 * spelt as in the contract, nested filters included.
 */
export function removedBy(filter: Filter, document: FilteredDocument, path = 'filter'): Removal | undefined {
  const holds = (condition: Condition): boolean => documentFilter({ must: [condition] })(document);
  const { must = [], should = [], mustNot = [] } = filter;
  for (const [index, condition] of must.entries()) {
    if (holds(condition)) continue;
    const at = `${path}.must[${index}]`;
    if ('filter' in condition) return removedBy(condition.filter, document, `${at}.filter`)!;
    return { path: at, why: `${asked(condition)}, and ${had(condition.field, document)}` };
  }
  if (should.length > 0 && !should.some(holds)) {
    const fields = new Set(should.flatMap((one) => ('filter' in one ? [] : [had(one.field, document)])));
    const why = [`none of its ${should.length} conditions holds`, ...fields].join('; ');
    return { path: `${path}.should`, why };
  }
  for (const [index, condition] of mustNot.entries()) {
    if (!holds(condition)) continue;
    const at = `${path}.must_not[${index}]`;
    if ('filter' in condition) return { path: `${at}.filter`, why: 'this filter holds for it' };
    return { path: at, why: `${had(condition.field, document)}, which ${refused(condition)}` };
  }
  return undefined;
}

type FieldCondition = Exclude<Condition, { filter: Filter }>;

function asked(condition: FieldCondition): string {
  const { field } = condition;
  if ('exists' in condition) return `${field} has to be there`;
  if ('equals' in condition) return `${field} has to be ${shown(condition.equals)}`;
  if ('anyOf' in condition) return `${field} has to be one of ${shown(condition.anyOf)}`;
  return `${field} has to be a number ${bounds(condition.range)}`;
}

function refused(condition: FieldCondition): string {
  if ('exists' in condition) return 'must not be there';
  if ('equals' in condition) return `must not be ${shown(condition.equals)}`;
  if ('anyOf' in condition) return `must not be one of ${shown(condition.anyOf)}`;
  return `must not be a number ${bounds(condition.range)}`;
}

function had(field: string, { documentId, version, metadata }: FilteredDocument): string {
  const path = metadataPath(field);
  const value = path ? readPath(metadata, path) : field === 'version' ? version : documentId;
  return value === undefined ? `it has no ${field}` : `its ${field} is ${shown(value)}`;
}

const WORDS = { gt: 'above', gte: 'from', lt: 'below', lte: 'up to' } as const;

function bounds(range: { gt?: number; gte?: number; lt?: number; lte?: number }): string {
  const words = Object.entries(WORDS).flatMap(([key, word]) => {
    const bound = range[key as keyof typeof WORDS];
    return bound === undefined ? [] : [`${word} ${bound}`];
  });
  return words.join(' and ');
}

function shown(value: unknown): string {
  const json = JSON.stringify(value);
  if (json.length <= SHOWN) return json;
  return `${json.slice(0, SHOWN).toWellFormed()}…`;
}
