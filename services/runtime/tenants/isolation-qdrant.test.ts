import { test } from 'node:test';
import { openStore } from '../../../store/open.ts';
import { useQdrant } from '../../../store/qdrant/testing/engine.ts';
import { optionalTool } from '../../../test/testing/optional-tool.ts';
import { audit, step, type Step } from './testing/audit.ts';

const qdrant = useQdrant(() => optionalTool('qdrant-engine'));

test('nothing that one tenant is answered depends on another: Qdrant', { skip: qdrant.skip }, async () => {
  // But for the scores of terms: how rare a term is, Qdrant counts over the whole shard.
  const dense = step.map((each): Step => {
    if (each.method !== 'Search') return each;
    return { ...each, request: (tenant) => ({ ...each.request(tenant), mode: 'SEARCH_MODE_DENSE' }) };
  });
  await audit(() => openStore({ kind: 'qdrant', url: qdrant.url, exact: true }), dense, 10);
});
