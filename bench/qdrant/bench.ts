import type { Bench } from '../report.ts';
import { TOWER } from './corpus.ts';
import { DOCUMENTS, Ground, IN_FLIGHT, POINTS, QUERIES, WRITERS } from './ground.ts';
import { compareSearches, LIMIT } from './searches.ts';
import { ROUNDS } from './sides.ts';
import { compareWrites, recordPoints, STREAMS, WRITES } from './writes.ts';

/**
 * Compares searches and writes through the services with the same requests sent to Qdrant directly, and with
 * the same requests through a forwarder that does no more than it must.
 */
export const bench: Bench = {
  run: async (progress) => {
    const url = process.env['QDRANT_URL'];
    if (!url)
      throw new Error(
        'needs a Qdrant server: set QDRANT_URL (and QDRANT_API_KEY), for example http://127.0.0.1:6333',
      );
    const ground = await Ground.open(url, process.env['QDRANT_API_KEY'], progress);
    try {
      progress('recording the requests to Qdrant');
      const points = await recordPoints(ground);
      const writes = await compareWrites(ground, points);
      const searches = await compareSearches(ground, points);
      return {
        parameters: {
          documents: DOCUMENTS,
          dimensions: ground.corpus.manifest.dimensions,
          queries: QUERIES,
          limit: LIMIT,
          rounds: ROUNDS,
          inFlight: IN_FLIGHT,
          writes: WRITES,
          pointsPerDirectUpsert: POINTS,
          directWriters: WRITERS,
          ingestStreams: STREAMS,
          tower: TOWER,
        },
        comparisons: [...searches, ...writes],
      };
    } finally {
      await ground.close();
    }
  },
};
