import { StoreError } from '../errors.ts';
import { checkSpace, isPhysicalName } from '../names.ts';
import type { CallOptions, CollectionInfo, CollectionKey, Store } from '../store.ts';

/** The logical name that a copy gets. @throws {StoreError} where a physical name was given */
export function aliasOf({ name }: CollectionKey, as: string | undefined): string {
  const alias = as ?? (isPhysicalName(name) ? name.slice(0, name.lastIndexOf('--')) : name);
  if (!isPhysicalName(alias)) return alias;
  throw new StoreError(
    'STORE_INVALID_ARGUMENT',
    `"${alias}" is a physical name; give the logical name that the copy gets`,
  );
}

/** Where the alias of the target leads to vectors of another space, a query tower would not find ours behind it. */
export async function refuseOtherSpace(
  target: Store,
  alias: string,
  { space }: CollectionKey,
  call: CallOptions,
): Promise<void> {
  if (!(await target.aliases(call)).has(alias)) return;
  const there = await target.findCollection(alias, call);
  checkSpace(alias, there.space, space);
}

/** Terms are copied as they are: those of two analyses do not go together. */
export function refuseOtherAnalysis(
  from: CollectionKey,
  { physicalName: name, analysis }: CollectionInfo,
): void {
  if (analysis === from.analysis) return;
  throw new StoreError(
    'STORE_INVALID_ARGUMENT',
    `the texts of collection "${name}" of the target are analysed otherwise than those of the source; bring one of them to ` +
      `the analysis of the other first: "scalingnote collections reanalyse ${name}"`,
    { metadata: { collection: name } },
  );
}

/** Documents that this copy did not write could be newer than its own. */
export function refuseFull({ physicalName: name, documents }: CollectionInfo): void {
  if (documents === 0) return;
  throw new StoreError(
    'STORE_INVALID_ARGUMENT',
    `collection "${name}" of the target has ${documents} documents already, and no copy of this source was broken off ` +
      'there; drop it, copy under another name, or say --merge',
    { metadata: { collection: name } },
  );
}
