import { openEmbeddedStore } from './embedded/embedded-store.ts';
import type { FieldType } from './indexed-fields.ts';
import type { QdrantConfig } from './qdrant/config.ts';
import type { Store } from './store.ts';

export type { CollectionSettings, QdrantConfig, Quantization } from './qdrant/config.ts';

/** A store in process and on disk. */
export interface EmbeddedConfig {
  kind: 'embedded';
  /** Folder of the files. */
  directory: string;
  /** Metadata fields to index in collections, without `metadata.`; dots lead into objects. @default none */
  indexedFields?: Readonly<Record<string, FieldType>>;
}

/** The kind of store, and where it is. */
export type StoreConfig = EmbeddedConfig | QdrantConfig;

/**
 * Opens the store that a configuration names. Sends nothing to a Qdrant server yet; see {@link Store.probe}.
 *
 * @throws {StoreError} if it cannot be opened, or the configuration cannot be used
 */
export async function openStore(
  config: StoreConfig,
  options: { log?: { warn(message: string): void } } = {},
): Promise<Store> {
  if (config.kind === 'qdrant') {
    // Loaded here: a service with the embedded store starts the sooner without it.
    const { QdrantStore } = await import('./qdrant/qdrant-store.ts');
    return new QdrantStore(config, options.log);
  }
  const { kind: _, ...embedded } = config;
  return await openEmbeddedStore({ ...embedded, ...options });
}
