import { VERSION_RANGE } from '../../clients/exact-json.ts';
import { parseJson } from '../../clients/records.ts';
import { UsageError } from '../output/print.ts';

/** Where the parts of a document come from: one `--map` each. */
export interface MapRule {
  /** `id`, `title`, `text`, `version`, `expires_at` or `metadata.KEY`. */
  target: string;
  /** Columns of a table, or keys of a JSON object. Several are joined by an empty line. */
  sources: readonly string[];
}

/** Parts of a document that have a place of their own; everything else is metadata. */
const PARTS = ['id', 'title', 'text', 'version', 'expires_at'];
const METADATA = 'metadata.';

/** Between the sources of one text: they are paragraphs. */
const PARAGRAPH = '\n\n';

/** Reads `--map id=sku --map text=summary+body`. @throws {UsageError} */
export function parseMapRules(flags: readonly string[]): MapRule[] {
  const rules: MapRule[] = [];
  for (const flag of flags) {
    const at = flag.indexOf('=');
    const target = flag.slice(0, at).trim();
    const sources = flag
      .slice(at + 1)
      .split('+')
      .map((source) => source.trim());
    if (at < 1 || sources.includes(''))
      throw new UsageError(`--map ${flag}: write TARGET=SOURCE or TARGET=SOURCE+SOURCE`);
    if (!PARTS.includes(target) && !(target.startsWith(METADATA) && target.length > METADATA.length)) {
      throw new UsageError(
        `--map ${flag}: "${target}" is no part of a document; write ${PARTS.join(', ')} or metadata.KEY`,
      );
    }
    if (rules.some((rule) => rule.target === target))
      throw new UsageError(`--map names "${target}" twice; join its sources with "+"`);
    rules.push({ target, sources });
  }
  return rules;
}

/** Columns of which one has to be there: what the identifier is made of. */
export function idColumns(rules: readonly MapRule[]): readonly string[] {
  return rules.find(({ target }) => target === 'id')?.sources ?? ['id', '_id'];
}

/**
 * Which column of a table becomes which part. Without rules, the columns have the names of the parts. With rules, a
 * column that no rule names keeps its name: as a part where there is such a part and no rule fills it, else as metadata.
 *
 * @throws {Error} naming the column and the fix
 */
export function bindColumns(columns: readonly string[], rules: readonly MapRule[]): MapRule[] {
  const missing = rules.flatMap(({ sources }) => sources).find((source) => !columns.includes(source));
  if (missing !== undefined) {
    throw new Error(`--map names "${missing}", and there is no such column; there are ${columns.join(', ')}`);
  }
  const bound = bindKeys(columns, rules);
  if (bound.some(({ target }) => target === 'id')) return bound;
  throw new Error(
    `no column is called "id"; say with --map id=COLUMN which one it is; there are ${columns.join(', ')}`,
  );
}

/** The same for the keys of one object, which need not have all of them. @throws {Error} naming the key and the fix */
export function bindKeys(keys: readonly string[], rules: readonly MapRule[]): MapRule[] {
  const bound = [...rules];
  const used = new Set(rules.flatMap(({ sources }) => sources));
  const targets = new Set(rules.map(({ target }) => target));
  for (const key of keys) {
    if (used.has(key)) continue;
    const target = targetOf(key, targets, rules.length > 0);
    if (target === undefined) {
      throw new Error(
        `column "${key}" is not known; call it "${METADATA}${key}" to keep it as metadata, or say so with --map ${METADATA}${key}=${key}`,
      );
    }
    if (targets.has(target)) {
      throw new Error(
        `two columns become "${target}"; keep one of them, or say with --map what the other is`,
      );
    }
    targets.add(target);
    bound.push({ target, sources: [key] });
  }
  return bound;
}

function targetOf(column: string, taken: ReadonlySet<string>, mapped: boolean): string | undefined {
  const part = column === '_id' ? 'id' : column;
  const known =
    PARTS.includes(part) ||
    part === 'metadata' ||
    (part.startsWith(METADATA) && part.length > METADATA.length);
  if (known && !(mapped && taken.has(part))) return part;
  return mapped ? METADATA + column : undefined;
}

/** Whether a rule fills one key of the metadata from one column: only such a value is not a text. */
export function isValue({ target, sources }: MapRule): boolean {
  return target.startsWith(METADATA) && sources.length === 1;
}

/**
 * A record made of the columns or keys that rules name.
 *
 * @param valueOf - what a source holds; `undefined` for nothing
 * @throws {Error} naming the source
 */
export function applyRules(
  rules: readonly MapRule[],
  valueOf: (source: string) => unknown,
): Record<string, unknown> {
  const record: Record<string, unknown> = {};
  const metadata: [key: string, value: unknown][] = [];
  for (const rule of rules) {
    const { target, sources } = rule;
    if (isValue(rule)) {
      const value = valueOf(sources[0]!);
      if (value !== undefined && value !== null) metadata.push([target.slice(METADATA.length), value]);
    } else if (target === 'metadata') {
      const value = valueOf(sources[0]!);
      if (value !== undefined && value !== null && value !== '')
        metadata.push(...Object.entries(objectOf(value)));
    } else if (target === 'version') {
      const version = versionOf(valueOf(sources[0]!));
      if (version !== undefined) record[target] = version;
    } else {
      const texts = sources
        .map((source) => textOf(valueOf(source), source, target))
        .filter((text) => text !== '');
      const text = texts.join(PARAGRAPH);
      if (target.startsWith(METADATA)) metadata.push([target.slice(METADATA.length), text]);
      else if (target !== 'expires_at' || text !== '') record[target] = text;
    }
  }
  if (metadata.length > 0) record['metadata'] = Object.fromEntries(metadata);
  return record;
}

function textOf(value: unknown, source: string, target: string): string {
  if (value === undefined || value === null) return '';
  if (typeof value === 'object') {
    throw new Error(
      `"${source}" is ${Array.isArray(value) ? 'a list' : 'an object'}, and "${target}" takes a text`,
    );
  }
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function versionOf(value: unknown): number | undefined {
  if (value === undefined || value === null || value === '') return undefined;
  const version = typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value;
  if (typeof version === 'number' && Number.isSafeInteger(version) && version >= 0) return version;
  throw new Error(`"version" is ${JSON.stringify(value)}, but must be ${VERSION_RANGE}`);
}

function objectOf(value: unknown): object {
  const object = typeof value === 'string' ? parsed(value) : value;
  if (typeof object === 'object' && object !== null && !Array.isArray(object)) return object;
  throw new Error('"metadata" must be an object of JSON');
}

function parsed(text: string): unknown {
  try {
    return parseJson(text);
  } catch (error) {
    throw new Error(`"metadata" ${(error as Error).message}`, { cause: error });
  }
}

/** What a key of a JSON object holds, and a dotted path of keys inside it where there is no such key. */
export function valueAt(object: Readonly<Record<string, unknown>>, path: string): unknown {
  if (Object.hasOwn(object, path)) return object[path];
  let value: unknown = object;
  for (const key of path.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<string, unknown>)[key];
  }
  return value;
}

/** Rules and types in one line, for people. */
export function describeRules(
  rules: readonly MapRule[],
  typeOf: (source: string) => string | undefined,
): string {
  return rules
    .map((rule) => {
      const type = isValue(rule) ? typeOf(rule.sources[0]!) : undefined;
      return `${rule.sources.join(' + ')} → ${rule.target}${type === undefined ? '' : ` (${type})`}`;
    })
    .join(', ');
}
