import { describe } from 'node:test';
import { collectionContract } from './contract/collections.ts';
import { filterContract } from './contract/filters.ts';
import { modelContract } from './contract/model.ts';
import { raceContract } from './contract/races.ts';
import { readContract } from './contract/reads.ts';
import { refusalContract } from './contract/refusals.ts';
import { rankingContract } from './contract/rankings.ts';
import { type StoreFixture, useStores } from './contract/stores.ts';
import { tenantContract } from './contract/tenants.ts';
import { versionContract } from './contract/versions.ts';
import { writeContract } from './contract/writes.ts';

/**
 * Registers the tests that every store passes, one `describe` block named after the fixture.
 *
 * Each test makes its own collections and drops them, so other tests may use the same storage meanwhile.
 */
export function storeContract(name: string, fixture: StoreFixture): void {
  describe(`store contract: ${name}`, () => {
    const stores = useStores(fixture);
    collectionContract(stores);
    writeContract(stores);
    versionContract(stores);
    refusalContract(stores);
    tenantContract(stores);
    raceContract(stores);
    readContract(stores);
    rankingContract(stores);
    filterContract(stores);
    modelContract(stores);
  });
}
