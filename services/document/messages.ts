import type { Collection } from '../../proto/generated/scalingnote/v1/Collection.ts';
import type { CollectionInfo } from '../../store/store.ts';

/** A collection as it goes over the wire. */
export function collectionMessage({
  name,
  physicalName,
  space,
  documents,
  passages,
}: CollectionInfo): Collection {
  return { name, physicalName, space, documents, passages };
}
