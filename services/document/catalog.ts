import { status } from '@grpc/grpc-js';
import type { DropCollectionRequest__Output } from '../../proto/generated/scalingnote/v1/DropCollectionRequest.ts';
import type { DropCollectionResponse } from '../../proto/generated/scalingnote/v1/DropCollectionResponse.ts';
import type { ListAliasesResponse } from '../../proto/generated/scalingnote/v1/ListAliasesResponse.ts';
import type { SwitchAliasRequest__Output } from '../../proto/generated/scalingnote/v1/SwitchAliasRequest.ts';
import type { SwitchAliasResponse } from '../../proto/generated/scalingnote/v1/SwitchAliasResponse.ts';
import { isPhysicalName } from '../../store/names.ts';
import type { CallOptions, Store } from '../../store/store.ts';
import { invalidArgument, ServiceError } from '../runtime/errors.ts';
import { checkCollection, quoted } from '../runtime/validate.ts';

/** What the catalog of collections needs of a store. */
export type CatalogStore = Pick<Store, 'aliases' | 'switchAlias' | 'dropCollection'>;

/** Every alias, by name. */
export async function listAliases(store: CatalogStore, call: CallOptions): Promise<ListAliasesResponse> {
  const aliases = [...(await store.aliases(call))].sort(([a], [b]) => (a < b ? -1 : 1));
  return { aliases: aliases.map(([name, physicalName]) => ({ name, physicalName })) };
}

/** @throws {StoreError} `COLLECTION_NOT_FOUND` where there is no such physical collection */
export async function switchAlias(
  store: CatalogStore,
  { alias, physicalName }: SwitchAliasRequest__Output,
  call: CallOptions,
): Promise<SwitchAliasResponse> {
  checkCollection(alias, 'alias');
  await checkPhysical(store, physicalName, call);
  const previousPhysicalName = (await store.aliases(call)).get(alias) ?? '';
  await store.switchAlias(alias, physicalName, call);
  return { previousPhysicalName };
}

/**
 * @throws {StoreError} `COLLECTION_NOT_FOUND`
 * @throws {ServiceError} `COLLECTION_IN_USE` where aliases lead to it and the request does not allow dropping them
 */
export async function dropCollection(
  store: CatalogStore,
  { physicalName, withAliases }: DropCollectionRequest__Output,
  call: CallOptions,
): Promise<DropCollectionResponse> {
  await checkPhysical(store, physicalName, call);
  const aliases = aliasesOf(await store.aliases(call), physicalName);
  if (aliases.length > 0 && !withAliases) {
    const named = aliases.map(quoted).join(', ');
    throw new ServiceError(
      status.FAILED_PRECONDITION,
      'COLLECTION_IN_USE',
      `physical_name: ${quoted(physicalName)} is what ${named} leads to; switch the alias first, or set ` +
        'with_aliases to drop both',
      { metadata: { physical_name: physicalName, aliases: aliases.join(',') } },
    );
  }
  await store.dropCollection(physicalName, call);
  return { aliases };
}

/** Refuses what is not a physical name. For an alias the error says which collection it leads to. */
async function checkPhysical(store: CatalogStore, name: string, call: CallOptions): Promise<void> {
  const field = 'physical_name';
  if (name === '') throw invalidArgument(field, 'is empty; name the physical collection');
  if (isPhysicalName(name)) return;
  const behind = (await store.aliases(call)).get(name);
  throw invalidArgument(
    field,
    behind === undefined
      ? `${quoted(name)} is no physical name, which is NAME--sp1_ and eight hex digits; "scalingnote collections" lists them`
      : `${quoted(name)} is an alias; its physical collection is ${quoted(behind)}`,
  );
}

function aliasesOf(aliases: ReadonlyMap<string, string>, physicalName: string): string[] {
  return [...aliases].flatMap(([alias, physical]) => (physical === physicalName ? [alias] : [])).sort();
}
