import { openEmbeddedStore } from './embedded/embedded-store.ts';
import type { Store } from './store.ts';

/** Which home, and where. */
export interface StoreConfig {
  kind: 'embedded';
  /** Where the files are. */
  directory: string;
}

/**
 * Opens the store that a configuration names.
 *
 * @throws {StoreError} where it cannot be opened
 */
export function openStore(
  config: StoreConfig,
  options: { log?: { warn(message: string): void } } = {},
): Promise<Store> {
  return openEmbeddedStore({ directory: config.directory, ...options });
}
