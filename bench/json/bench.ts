import { mkdtempSync, rmSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { v1 } from '../../proto/load.ts';
import type { Process } from '../../services/runtime/testing/processes.ts';
import { drive, frame, LeanGrpc } from '../qdrant/load.ts';
import {
  cpuMicros,
  prepare,
  searchParameters,
  SEARCHES,
  startQueryService,
  type BenchSearch,
} from '../query-service.ts';
import { type Bench, type Comparison, median } from '../report.ts';

/** After this many searches of each kind all code is compiled. */
const WARM_UP_CALLS = 8_000;
const CALLS = 500;
/** Calls not counted, after the other side had its turn. */
const LEAD_IN_CALLS = 50;
/** Each turn goes there and back, so that what drifts affects both sides alike. */
const TURNS = 15;
/** What a search by JSON may cost more than one by gRPC, in microseconds. */
const GOAL_MICROS = 300;

const { Search } = v1.QueryService.service;

/** Compares what a search by JSON over HTTP/1.1 costs the query service with what it costs by gRPC. */
export const bench: Bench = {
  run: async (progress) => {
    const folder = mkdtempSync(join(tmpdir(), 'scalingnote-bench-'));
    let service: Process | undefined;
    try {
      progress(`storing ${SEARCHES.documents} documents`);
      const searches = await prepare(folder, SEARCHES);
      service = await startQueryService(folder, { OTEL_SDK_DISABLED: 'true' });
      const grpc = new LeanGrpc(service.address);
      const agent = new Agent({ keepAlive: true, maxSockets: SEARCHES.inFlight });
      const frames = searches.map((search) => frame(Search.requestSerialize(search)));
      const bodies = searches.map((search) => JSON.stringify(search));
      const { address } = service;
      await checkAnswer(address, agent, searches[0]!);
      const sides: ((index: number) => Promise<void>)[] = [
        (index) => postJson(address, agent, bodies[index % SEARCHES.queries]!).then(() => undefined),
        async (index) => void (await grpc.call(Search.path, [frames[index % SEARCHES.queries]!])),
      ];
      const { pid } = service.child;
      const cost = async (side: number, first: number): Promise<number> => {
        await drive(sides[side]!, first, LEAD_IN_CALLS, SEARCHES.inFlight);
        const before = cpuMicros(pid!);
        await drive(sides[side]!, first, CALLS, SEARCHES.inFlight);
        const after = cpuMicros(pid!);
        if (before === undefined || after === undefined)
          throw new Error('this system does not tell the CPU time');
        return (after - before) / CALLS;
      };
      progress('warming up');
      for (const side of sides) await drive(side, 0, WARM_UP_CALLS, SEARCHES.inFlight);
      const turns: { json: number; grpc: number }[] = [];
      for (let turn = 0; turn < TURNS; turn++) {
        const order = turn % 2 === 0 ? [0, 1, 1, 0] : [1, 0, 0, 1];
        const sums = [0, 0];
        for (const side of order) sums[side]! += await cost(side, turn * CALLS);
        turns.push({ json: sums[0]! / 2, grpc: sums[1]! / 2 });
      }
      grpc.close();
      agent.destroy();
      return {
        parameters: {
          ...searchParameters({ warmUpCalls: WARM_UP_CALLS, calls: CALLS, turns: TURNS }),
          ours: 'POST /v1/search over HTTP/1.1, kept alive',
          peer: 'the same search by gRPC',
          measured: 'CPU of all threads of the service; medians of the turns',
        },
        comparisons: [comparison(turns)],
      };
    } finally {
      await service?.stop();
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

function comparison(turns: readonly { json: number; grpc: number }[]): Comparison {
  const ours = median(turns.map(({ json }) => json));
  const peer = median(turns.map(({ grpc }) => grpc));
  const more = median(turns.map(({ json, grpc }) => json - grpc));
  const text = `at most ${GOAL_MICROS} µs more (${more.toFixed(0)} µs more)`;
  return {
    what: 'CPU of the service a search',
    unit: 'µs',
    ours,
    peer,
    ratio: ours / peer,
    goal: { text, met: more <= GOAL_MICROS },
  };
}

/** An answer that is none would cost little. */
async function checkAnswer(address: string, agent: Agent, search: BenchSearch): Promise<void> {
  const { hits = [] } = JSON.parse(await postJson(address, agent, JSON.stringify(search))) as {
    hits?: object[];
  };
  const { limit } = SEARCHES;
  if (hits.length !== limit) throw new Error(`a search by JSON found ${hits.length} documents, not ${limit}`);
}

function postJson(address: string, agent: Agent, body: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const call = request(`http://${address}/v1/search`, { method: 'POST', agent, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        if (response.statusCode === 200) resolve(text);
        else reject(new Error(`status ${response.statusCode}: ${text.slice(0, 300)}`));
      });
    });
    call.on('error', reject);
    call.end(body);
  });
}
