import { describe } from 'node:test';
import { collectionContract } from './contract/collections.ts';
import { documentContract } from './contract/documents.ts';
import { explanationContract } from './contract/explanations.ts';
import { expiryContract } from './contract/expiry.ts';
import { filterContract } from './contract/filters.ts';
import { freshnessContract } from './contract/freshness.ts';
import { goldenContract } from './contract/golden.ts';
import { indexedFieldContract } from './contract/indexed-fields.ts';
import { identityContract } from './contract/identity.ts';
import { listingContract } from './contract/listings.ts';
import { modelContract } from './contract/model.ts';
import { raceContract } from './contract/races.ts';
import { originContract } from './contract/origins.ts';
import { readContract } from './contract/reads.ts';
import { refusalContract } from './contract/refusals.ts';
import { rankingContract } from './contract/rankings.ts';
import { type StoreFixture, useStores } from './contract/stores.ts';
import { tenantDataContract } from './contract/tenant-data.ts';
import { tenantContract } from './contract/tenants.ts';
import { updateContract } from './contract/updates.ts';
import { versionContract } from './contract/versions.ts';
import { wordContract } from './contract/words.ts';
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
    identityContract(stores);
    goldenContract(stores);
    writeContract(stores);
    versionContract(stores);
    updateContract(stores);
    expiryContract(stores);
    refusalContract(stores);
    tenantContract(stores);
    tenantDataContract(stores);
    raceContract(stores);
    readContract(stores);
    documentContract(stores);
    originContract(stores);
    listingContract(stores);
    freshnessContract(stores);
    rankingContract(stores);
    wordContract(stores);
    filterContract(stores);
    indexedFieldContract(stores);
    explanationContract(stores);
    modelContract(stores);
  });
}
