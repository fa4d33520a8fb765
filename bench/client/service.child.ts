import { serve } from '../../clients/testing/fake-service.ts';

/** A service that answers every search with the same ten hits, in a process of its own: its CPU time is not the client's. */
const hits = Array.from({ length: 10 }, (_, index) => ({
  documentId: `document-${index}`,
  score: 1 - index / 10,
  title: 'someone who bakes bread or cake',
  text: 'someone who bakes bread or cake commercially',
  metadata: { fields: { lexname: { stringValue: 'noun.person' } } },
}));
const queryTower = { name: 'tower', role: 'TOWER_ROLE_QUERY', device: 'cpu' } as const;
const { address } = await serve({
  Search: (_, callback) => callback(null, { hits, timings: { totalMs: 1 }, queryTower }),
});
process.send!(address);
process.once('disconnect', () => process.exit(0));
