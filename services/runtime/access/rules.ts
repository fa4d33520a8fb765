import { readFileSync } from 'node:fs';
import {
  createFileRegistry,
  fromBinary,
  getOption,
  ScalarType,
  type DescField,
  type DescMessage,
  type DescMethod,
  type FileRegistry,
} from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { SCOPES, type Scope } from '../../../keys/scopes.ts';
import { StartError } from '../start-error.ts';
import type { Caller } from './caller.ts';
import { allTenantsNotAllowed, collectionNotAllowed, scopeMissing, tenantNotAllowed } from './refusals.ts';

/** What an RPC or a route asks for: a scope, any credential, or nothing. */
export type Need = Scope | 'any' | 'open';

/** What is not of our contract: the standard services of gRPC. Health says whether, never what. */
const STANDARD: Readonly<Record<string, Need>> = {
  'grpc.health.v1.Health': 'open',
  'grpc.reflection.v1.ServerReflection': 'any',
  'grpc.reflection.v1alpha.ServerReflection': 'any',
};

/** What a method of those services needs; `undefined` for a method of another. */
export function standardNeed(path: string): Need | undefined {
  return STANDARD[path.split('/')[1] ?? ''];
}

/** Deepest message of a request that is searched for names: `SearchByVectorRequest.search` is the second. */
const MAX_DEPTH = 3;

const registry = createFileRegistry(
  fromBinary(
    FileDescriptorSetSchema,
    readFileSync(new URL('../../../proto/scalingnote/descriptors.binpb', import.meta.url)),
  ),
);

/** A field of a request that says whose or which data it is about. */
interface Place {
  /** As people write it: `search.tenant`. */
  name: string;
  /** The steps to it in a decoded message. */
  path: readonly string[];
  what: 'tenant' | 'all tenants' | 'collection';
}

/** What a method asks of its callers, made once from its descriptor. */
export interface Rule {
  readonly need: Need;
  readonly places: readonly Place[];
  /** Fields that ask for one more scope where they are set. */
  readonly extras: readonly { path: readonly string[]; need: Scope }[];
  /** Names of the fields of the response that list collections. */
  readonly lists: readonly string[];
}

/** Rules of our own contract, each made once: what they are made of never changes. */
const rules = new Map<string, Rule>();

/**
 * The rule of a method, `/scalingnote.v1.QueryService/Search`, from its descriptor.
 *
 * @throws {StartError} where it declares no scope: what declares none can't be called
 */
export function ruleOf(path: string, files: FileRegistry = registry): Rule {
  if (files !== registry) return makeRule(path, files);
  const rule = rules.get(path) ?? makeRule(path, files);
  // Of services that are not of the contract there may be any number.
  if (path.startsWith('/scalingnote.')) rules.set(path, rule);
  return rule;
}

function makeRule(path: string, files: FileRegistry): Rule {
  const [, service = '', name = ''] = path.split('/');
  const standard = standardNeed(path);
  if (standard !== undefined) return { need: standard, places: [], extras: [], lists: [] };
  // A service of somebody else's that says nothing is for who may do most.
  if (!service.startsWith('scalingnote.')) return { need: 'admin', places: [], extras: [], lists: [] };
  const method = files.getService(service)?.methods.find((each) => each.name === name);
  if (!method) throw undeclared(path);
  const need = declaredBy(method, 'scope', files);
  if (need === undefined) throw undeclared(path);
  return {
    need,
    places: placesOf(method.input, [], ''),
    extras: extrasOf(method.input, files),
    lists: listsOf(method.output),
  };
}

/** The scope that an option of a descriptor says; `undefined` where it says none. */
function declaredBy(
  described: DescMethod | DescField,
  option: 'scope' | 'needs',
  files: FileRegistry,
): Scope | 'any' | undefined {
  const extension = files.getExtension(`scalingnote.v1.${option}`);
  if (!extension?.enum) return undefined;
  const number = getOption(described as never, extension as never) as number;
  const declared = extension.enum.value[number]?.localName.toLowerCase();
  return declared === 'any' ? 'any' : SCOPES.find((scope) => scope === declared);
}

function extrasOf(type: DescMessage, files: FileRegistry): Rule['extras'] {
  return type.fields.flatMap((field) => {
    const need = declaredBy(field, 'needs', files);
    return need === undefined || need === 'any' ? [] : [{ path: [field.localName], need }];
  });
}

function undeclared(path: string): StartError {
  return new StartError(
    `${path} declares no scope; give it one in its .proto: option (scope) = SCOPE_SEARCH, for example`,
  );
}

/** Fields are found by the ends of their names, so that a new request is checked without a word here. */
function placesOf(type: DescMessage, path: readonly string[], prefix: string): Place[] {
  return type.fields.flatMap((field): Place[] => {
    const at = [...path, field.localName];
    const name = prefix + field.name;
    if (field.fieldKind === 'message' && path.length < MAX_DEPTH && isOurs(field.message)) {
      return placesOf(field.message, at, `${name}.`);
    }
    if (field.fieldKind !== 'scalar') return [];
    if (field.scalar === ScalarType.BOOL) {
      return field.name === 'all_tenants' ? [{ name, path: at, what: 'all tenants' }] : [];
    }
    if (/(^|_)tenant$/.test(field.name)) return [{ name, path: at, what: 'tenant' }];
    if (/(^|_)(collection|alias|physical_name)$/.test(field.name)) {
      return [{ name, path: at, what: 'collection' }];
    }
    return [];
  });
}

function isOurs({ typeName }: DescMessage): boolean {
  return typeName.startsWith('scalingnote.v1.') && typeName !== 'scalingnote.v1.Filter';
}

function listsOf(type: DescMessage): string[] {
  return type.fields
    .filter(
      (field) =>
        field.fieldKind === 'list' &&
        field.listKind === 'message' &&
        field.message.fields.some(({ name }) => name === 'physical_name'),
    )
    .map(({ localName }) => localName);
}

/** What a request names, for the audit log. */
export interface Named {
  tenant?: string;
  collection?: string;
}

/** @throws {ServiceError} `SCOPE_MISSING` */
export function checkScope(caller: Caller, need: Need, what: string): void {
  if (need === 'any' || need === 'open') return;
  if (!caller.scopes.has(need)) throw scopeMissing(caller, need, what);
}

/**
 * Compares what a request names with what its caller may do.
 *
 * @param emptyMeans the collection that an empty `collection` leads to; empty where nobody knows it beforehand
 * @throws {ServiceError} `SCOPE_MISSING`, `TENANT_NOT_ALLOWED`, `COLLECTION_NOT_ALLOWED`
 */
export function checkRequest(
  caller: Caller,
  { places, extras }: Rule,
  request: object,
  emptyMeans = '',
): Named {
  for (const { path, need } of extras) {
    if (valueAt(request, path) != null) checkScope(caller, need, path.join('.'));
  }
  const named: Named = {};
  const all = places.some(({ what, path }) => what === 'all tenants' && valueAt(request, path) === true);
  for (const { name, path, what } of places) {
    const parent = valueAt(request, path.slice(0, -1));
    // A part of a message that is not there names nothing.
    if (parent == null) continue;
    const value = (valueAt(parent, path.slice(-1)) ?? '') as string | boolean;
    if (what === 'all tenants') {
      if (value === true && !caller.tenants.all) throw allTenantsNotAllowed(caller, name);
    } else if (what === 'tenant') {
      named.tenant ??= String(value);
      const isUnused = value === '' && (all || name.startsWith('after_'));
      if (!isUnused && !caller.tenants.has(String(value)))
        throw tenantNotAllowed(caller, name, String(value));
    } else {
      const meant = value === '' && path.at(-1) === 'collection' ? emptyMeans : String(value);
      named.collection ??= meant;
      if (!maySee(caller, meant)) throw collectionNotAllowed(caller, name, meant);
    }
  }
  return named;
}

/** An answer without the collections that its caller may not see. */
export function shown<Response>(caller: Caller, { lists }: Rule, response: Response): Response {
  if (lists.length === 0 || caller.collections.all) return response;
  const copy = { ...response } as Record<string, { name?: string; physicalName?: string }[] | undefined>;
  for (const name of lists) {
    copy[name] = copy[name]?.filter(
      (each) => maySee(caller, each.name ?? '') && maySee(caller, each.physicalName ?? ''),
    );
  }
  return copy as Response;
}

/** A physical collection, `NAME--SPACE`, belongs to whoever may use its name. */
function maySee({ collections }: Caller, name: string): boolean {
  if (collections.all) return true;
  const [logical = ''] = name.split('--', 1);
  // Nobody knows yet which collection an empty name leads to: a credential for some of them has to say which.
  return logical !== '' && collections.has(logical);
}

function valueAt(from: unknown, path: readonly string[]): unknown {
  let value = from;
  for (const step of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Record<string, unknown>)[step];
  }
  return value;
}
