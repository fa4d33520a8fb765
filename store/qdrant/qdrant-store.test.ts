import { describe, it } from 'node:test';
import { optionalTool } from '../../test/testing/optional-tool.ts';
import { storeContract } from '../contract.ts';
import { openStore } from '../open.ts';
import { useQdrant } from './testing/engine.ts';

const server = useQdrant(() => optionalTool('qdrant-engine'));

if (server.skip !== false) {
  describe('store contract: qdrant', () => {
    it('holds for a Qdrant server', { skip: server.skip });
  });
} else {
  const apiKey = process.env['QDRANT_API_KEY'];
  // In a cluster: copies of each shard in the collections of the tests.
  const replicas = process.env['QDRANT_REPLICAS'];
  storeContract('qdrant', {
    open: () =>
      openStore({
        kind: 'qdrant',
        url: server.url,
        exact: true,
        ...(apiKey !== undefined && { apiKey }),
        ...(replicas !== undefined && { replicas: Number(replicas) }),
      }),
  });
}
