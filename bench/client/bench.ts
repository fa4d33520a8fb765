import { fork } from 'node:child_process';
import { once } from 'node:events';
import { credentials } from '@grpc/grpc-js';
import { QueryClient } from '../../clients/index.ts';
import { v1 } from '../../proto/load.ts';
import { type Bench, median } from '../report.ts';

const CALLS_AT_A_TIME = 16;
const CALLS = 800;
/** Blocks of each side; they take turns, so that both see the same machine. */
const BLOCKS = 15;

const REQUEST = {
  collection: 'people',
  query: 'who bakes bread',
  limit: 10,
  filter: { must: [{ field: 'metadata.lexname', equals: 'noun.person' }] },
} as const;
/** The same as the wire has it. */
const WIRE = {
  ...REQUEST,
  filter: { must: [{ equals: { field: 'metadata.lexname', value: { stringValue: 'noun.person' } } }] },
};

/** CPU time of this process for each call, in microseconds. */
async function cpuOf(search: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage();
  let left = CALLS;
  const worker = async (): Promise<void> => {
    while (left-- > 0) await search();
  };
  await Promise.all(Array.from({ length: CALLS_AT_A_TIME }, worker));
  const { user, system } = process.cpuUsage(before);
  return (user + system) / CALLS;
}

/** What a search costs the caller's CPU with our client, and with a bare client of grpc-js that makes the same call. */
export const bench: Bench = {
  run: async (progress) => {
    const service = fork(new URL('./service.child.js', import.meta.url));
    const [address] = (await once(service, 'message')) as [string];
    const client = new QueryClient({ address });
    const bare = new v1.QueryService(address, credentials.createInsecure());
    const sides = {
      ours: () => client.search(REQUEST),
      peer: () =>
        new Promise((resolve, reject) => {
          const deadline = Date.now() + 10_000;
          bare.Search(WIRE, { deadline }, (error, answer) => (error ? reject(error) : resolve(answer)));
        }),
    };
    try {
      const cpu: Record<keyof typeof sides, number[]> = { ours: [], peer: [] };
      for (const search of Object.values(sides)) await cpuOf(search);
      for (let block = 0; block < BLOCKS; block++) {
        progress(`block ${block + 1} of ${BLOCKS}`);
        const order = block % 2 === 0 ? (['ours', 'peer'] as const) : (['peer', 'ours'] as const);
        for (const side of order) cpu[side].push(await cpuOf(sides[side]));
      }
      const [ours, peer] = [median(cpu.ours), median(cpu.peer)];
      const what = 'CPU time of the caller for a search with a filter and ten hits';
      return {
        parameters: { callsAtATime: CALLS_AT_A_TIME, calls: CALLS, blocks: BLOCKS },
        comparisons: [{ what, unit: 'µs', ours, peer, ratio: ours / peer }],
      };
    } finally {
      client.close();
      bare.close();
      service.disconnect();
    }
  },
};
