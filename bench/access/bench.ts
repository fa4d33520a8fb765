import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { v1 } from '../../proto/load.ts';
import { stopServices } from '../../services/runtime/testing/processes.ts';
import { Pairs } from '../calls/compare.ts';
import { closedLoop, type Seen, type Side } from '../calls/sides.ts';
import { framed } from '../load/messages.ts';
import type { RatioGoal } from '../pairs.ts';
import { TOWER } from '../qdrant/corpus.ts';
import { distinctTexts, startQueryService } from '../query-service.ts';
import { BenchUsageError, type Bench } from '../report.ts';
import { makeGround, type Ground } from './ground.ts';

const CALLERS = 8;
/** More than there are calls in a stretch, so that none is encoded twice there. */
const TEXTS = 20_000;
/** No two starts of a process are alike. */
const STARTS = 2;
/** In each start. */
const TURNS = 7;
const MS = 1000;
/** After so long all code is compiled, on a busy machine as well. */
const WARM_MS = 4000;

const { Encode } = v1.QueryService.service;

/** What each way to ask costs: the share of the throughput that may be lost. */
const WAYS = { 'TLS and a key': 0.1, 'TLS and a token': 0.15 } as const;

/** Compares calls in plain text without keys with calls over TLS with a key, and with a token, on connections that stay open. */
export const bench: Bench = {
  flags: { starts: { type: 'string' } },
  run: async (progress, { starts: asked = String(STARTS) }) => {
    const starts = Number(asked);
    if (!Number.isInteger(starts) || starts < 1)
      throw new BenchUsageError('--starts takes a whole number from 1');
    const folder = mkdtempSync(join(tmpdir(), 'scalingnote-bench-'));
    const pairs = new Pairs();
    try {
      const ground = await makeGround(folder);
      for (let start = 1; start <= starts; start++) {
        progress(`start ${start} of ${starts}: three query services`);
        const sides = await startSides(join(folder, String(start)), start, ground);
        for (let turn = 1; turn <= TURNS; turn++) {
          progress(`turn ${turn} of ${TURNS}`);
          const load = `${CALLERS} in flight`;
          const seen = await pairs.measure(load, turn, sides, (side) => closedLoop(side, CALLERS, MS));
          if (seen) add(seen, pairs);
        }
        await stopServices();
      }
    } finally {
      await stopServices();
      rmSync(folder, { recursive: true, force: true });
    }
    const goals: [string, RatioGoal][] = Object.entries(WAYS).map(([way, share]) => [
      calls(way),
      { atLeast: 1 - share },
    ]);
    return {
      parameters: {
        method: Encode.path,
        tower: TOWER,
        callers: CALLERS,
        connections: 1,
        starts,
        turns: TURNS,
        ms: MS,
        cache: 'off',
      },
      comparisons: pairs.comparisons(Object.fromEntries(goals)),
      notes: [
        'peer: plain text without keys; the caller shares the machine, and pays for its own side of TLS',
        ...pairs.notes(),
      ],
    };
  },
};

const calls = (way: string): string => `calls with ${way}`;

/** The peer first, and then ours in the order of {@link WAYS}; all are warm. */
async function startSides(folder: string, seed: number, { tls, key, token }: Ground): Promise<Side[]> {
  const bodies = distinctTexts(TEXTS, seed).map((text) => framed(Encode.requestSerialize({ texts: [text] })));
  const start = async (name: string, environment: Readonly<Record<string, string>>): Promise<Side> => {
    const data = join(folder, name);
    mkdirSync(data, { recursive: true });
    const service = await startQueryService(data, { OTEL_SDK_DISABLED: 'true', ...environment });
    return { service, path: Encode.path, bodies };
  };
  const plain = await start('plain', {});
  const withKey = await start('key', { ...tls.environment, ...key.environment });
  const withToken = await start('token', { ...tls.environment, ...token.environment });
  const sides: Side[] = [
    plain,
    { ...withKey, ca: tls.ca, headers: key.headers },
    { ...withToken, ca: tls.ca, headers: token.headers },
  ];
  for (const each of sides) await closedLoop(each, CALLERS, WARM_MS);
  return sides;
}

function add([peer, ...ours]: readonly Seen[], pairs: Pairs): void {
  for (const [index, way] of Object.keys(WAYS).entries()) {
    pairs.add(calls(way), '/s', ours[index]!.perSecond, peer!.perSecond);
    pairs.add(`CPU of the service a call with ${way}`, 'µs', ours[index]!.cpuMicros, peer!.cpuMicros);
    pairs.add(`p99 with ${way}`, 'ms', ours[index]!.p99, peer!.p99);
  }
}
