import { describe } from 'node:test';
import { collectionContract } from './contract/collections.ts';
import { filterContract } from './contract/filters.ts';
import { modelContract } from './contract/model.ts';
import { raceContract } from './contract/races.ts';
import { readContract } from './contract/reads.ts';
import { refusalContract } from './contract/refusals.ts';
import { searchContract } from './contract/search.ts';
import { type Home, useStores } from './contract/stores.ts';
import { tenantContract } from './contract/tenants.ts';
import { versionContract } from './contract/versions.ts';
import { writeContract } from './contract/writes.ts';

export type { Home } from './contract/stores.ts';

/**
 * Registers the tests that every store passes, one `describe` block named after the home.
 *
 * The home may be shared with others: each test makes collections of its own and drops them.
 */
export function storeContract(name: string, home: Home): void {
  describe(`store contract: ${name}`, () => {
    const stores = useStores(home);
    collectionContract(stores);
    writeContract(stores);
    versionContract(stores);
    refusalContract(stores);
    tenantContract(stores);
    raceContract(stores);
    readContract(stores);
    searchContract(stores);
    filterContract(stores);
    modelContract(stores);
  });
}
