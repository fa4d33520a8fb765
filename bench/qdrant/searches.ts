import { v1 } from '../../proto/load.ts';
import { type Comparison, percentile } from '../report.ts';
import { TOWER, writeOf } from './corpus.ts';
import { DOCUMENTS, type Ground, IN_FLIGHT, POINTS, QUERIES, WRITERS } from './ground.ts';
import { frame, LeanGrpc, messagesIn, type RestRequest } from './load.ts';
import { alternate, compare, compareBare, type Side } from './sides.ts';

export const LIMIT = 10;
const ALONE_CALLS = 500;
const BUSY_CALLS = 5000;

const { Search } = v1.QueryService.service;

/** Compares searches, text in and hits out, with requests that send the vector to Qdrant directly. */
export async function compareSearches(ground: Ground, points: readonly string[]): Promise<Comparison[]> {
  ground.progress(`storing ${DOCUMENTS} documents`);
  const physical = await ground.collection(ground.name);
  let next = 0;
  await Promise.all(
    Array.from({ length: WRITERS }, async () => {
      while (next < DOCUMENTS) {
        const first = next;
        next = Math.min(DOCUMENTS, next + POINTS);
        const writes = Array.from({ length: next - first }, (_, row) => writeOf(ground.corpus, first + row));
        await ground.store.writeDocuments(physical, writes);
      }
    }),
  );
  ground.progress('waiting for the index');
  await ground.indexed(physical);

  const service = await ground.start(
    new URL('../../services/query/main.js', import.meta.url),
    // Every query is different: a cache would skip the encoder for a repeated one.
    {
      SCALINGNOTE_QUERY_CACHE: '0',
      SCALINGNOTE_QUERY_TOWER: TOWER,
      SCALINGNOTE_PORT_QUERY: '0',
      SCALINGNOTE_METRICS_PORT_QUERY: '0',
    },
  );
  const requests = await recordSearches(ground, physical);
  const frames = ground.corpus.queries.map((query) =>
    frame(Search.requestSerialize({ collection: ground.name, query, limit: LIMIT })),
  );
  const grpc = new LeanGrpc(service.address);
  ground.onClose(() => grpc.close());
  const byText = Object.fromEntries(
    requests.map((request, index) => [ground.corpus.queries[index]!, request]),
  );
  const forwarder = await ground.startForwarder(points, byText);
  const bare = new LeanGrpc(forwarder.address);
  ground.onClose(() => bare.close());
  const sides = {
    ours: (index: number) => grpc.call(Search.path, [frames[index % QUERIES]!]),
    bare: (index: number) => bare.call(Search.path, [frames[index % QUERIES]!]),
    peer: (index: number) => ground.direct.send(requests[index % QUERIES]!),
  };
  for (let index = 0; index < QUERIES; index += 50) await sameHits(sides, index);

  ground.progress('searching');
  // Full load first: after few calls a program is still being compiled, which is not so for long in a
  // service.
  const busy = await alternate(sides, { calls: BUSY_CALLS, inFlight: IN_FLIGHT });
  const alone = await alternate(sides, { calls: ALONE_CALLS, inFlight: 1 });
  const p50 = compare('search, one at a time, p50', 'ms', alone, (load) => percentile(load.samples, 0.5));
  const perSecond = compare(`searches/s, ${IN_FLIGHT} in flight`, '/s', busy, (load) => load.perSecond);
  return [
    { ...p50, goal: { text: 'at most 0.6 ms more', met: p50.ours <= p50.peer + 0.6 } },
    compareBare('search, one at a time, p50', 'ms', alone, (load) => percentile(load.samples, 0.5)),
    compare('search, one at a time, p99', 'ms', alone, (load) => percentile(load.samples, 0.99)),
    compare('searches/s, one at a time', '/s', alone, (load) => load.perSecond),
    { ...perSecond, goal: { text: 'at least 0.7', met: perSecond.ratio >= 0.7 } },
    compareBare(`searches/s, ${IN_FLIGHT} in flight`, '/s', busy, (load) => load.perSecond),
    compare(`search, ${IN_FLIGHT} in flight, p50`, 'ms', busy, (load) => percentile(load.samples, 0.5)),
    compare(`search, ${IN_FLIGHT} in flight, p99`, 'ms', busy, (load) => percentile(load.samples, 0.99)),
  ];
}

/** The store's request to Qdrant for each query. */
async function recordSearches(ground: Ground, physical: string): Promise<RestRequest[]> {
  const requests: RestRequest[] = [];
  await ground.store.search(physical, { tenant: '', vector: ground.corpus.queryVectors[0]!, limit: LIMIT });
  ground.recorder.take();
  for (const vector of ground.corpus.queryVectors) {
    await ground.store.search(physical, { tenant: '', vector, limit: LIMIT });
    // Sometimes the store sends a second request, to learn more about ties; the direct side sends only the
    // first.
    requests.push(ground.recorder.take().find(({ path }) => path.includes('/query'))!);
  }
  return requests;
}

/** Checks that both sides return the same scores: documents of equal score may differ in order. */
async function sameHits(
  sides: Record<Side, (index: number) => Promise<Buffer>>,
  index: number,
): Promise<void> {
  const [message] = messagesIn(await sides.ours(index));
  const { hits } = Search.responseDeserialize(message!);
  const { result } = JSON.parse((await sides.peer(index)).toString()) as {
    result: { points: { score: number }[] };
  };
  const same = hits.every(({ score }, rank) => Math.abs(score - result.points[rank]!.score) < 1e-5);
  if (hits.length !== LIMIT || !same)
    throw new Error(`the two sides find different documents for query ${index}`);
}
