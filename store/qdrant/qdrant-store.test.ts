import { describe, it } from 'node:test';
import { storeContract } from '../contract.ts';
import { openStore } from '../open.ts';

const url = process.env['QDRANT_URL'];

if (url === undefined) {
  describe('store contract: qdrant', () => {
    it('holds for a real server', {
      skip: 'set QDRANT_URL to the REST address of a Qdrant server to run it',
    });
  });
} else {
  const apiKey = process.env['QDRANT_API_KEY'];
  // In a cluster: how many copies of each shard the collections of the tests have.
  const replicas = process.env['QDRANT_REPLICAS'];
  storeContract('qdrant', {
    open: () =>
      openStore({
        kind: 'qdrant',
        url,
        exact: true,
        ...(apiKey !== undefined && { apiKey }),
        ...(replicas !== undefined && { replicas: Number(replicas) }),
      }),
  });
}
