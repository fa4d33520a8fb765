import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { v1 } from '../../proto/load.ts';
import { type Process, stopServices } from '../../services/runtime/testing/processes.ts';
import { compareCalls, type Effort, Pairs } from '../calls/compare.ts';
import { answerBytes, closedLoop, type Side, startEcho, warmUp } from '../calls/sides.ts';
import { framed } from '../load/messages.ts';
import { TOWER } from '../qdrant/corpus.ts';
import { distinctTexts, startQueryService } from '../query-service.ts';
import type { Bench } from '../report.ts';

/** The teacher of the lookup tower. */
const TEACHER = 'all-MiniLM-L6-v2';
/** More than there are calls in a stretch, so that none is encoded twice there. */
const TEXTS = 10_000;
/** Texts of one call where the towers are compared, and not the transport. */
const TEXTS_A_CALL = 64;
const FULL: Effort = { starts: 5, turns: 3, ms: 2000 };
const QUICK: Effort = { starts: 1, turns: 3, ms: 1000 };

const { Encode } = v1.QueryService.service;
const BESIDE_TEACHER = `calls of ${TEXTS_A_CALL} texts; peer: the teacher as query tower`;

/** What `Encode` takes with the lookup tower, beside a server that does nothing, and beside the teacher. */
export const bench: Bench = {
  hasQuick: true,
  run: async (progress, _, { quick }) => {
    const effort = quick ? QUICK : FULL;
    const folder = mkdtempSync(join(tmpdir(), 'scalingnote-bench-'));
    const pairs = new Pairs();
    try {
      for (let start = 1; start <= effort.starts; start++) {
        progress(`start ${start} of ${effort.starts}: beside a bare server`);
        await besideEcho(folder, start, effort, pairs);
        progress(`start ${start} of ${effort.starts}: beside the teacher`);
        await besideTeacher(folder, start, effort, pairs);
      }
    } finally {
      await stopServices();
      rmSync(folder, { recursive: true, force: true });
    }
    return {
      parameters: { tower: TOWER, teacher: TEACHER, texts: TEXTS, ...effort, connections: 1, cache: 'off' },
      comparisons: pairs.comparisons({
        'calls, 8 in flight': { atLeast: 0.85 },
        'p99, open loop at 60 % of the slower side': { atMost: 1.3 },
        [BESIDE_TEACHER]: { atLeast: 100 },
      }),
      notes: ['peer: a bare server of grpc-js whose answers are as long', ...pairs.notes()],
    };
  },
};

async function besideEcho(folder: string, seed: number, effort: Effort, pairs: Pairs): Promise<void> {
  const service = await startQueryService(folder, {});
  const ours = encodes(service, distinctTexts(TEXTS, seed), 1);
  const echo = await startEcho({ [Encode.path]: await answerBytes(ours) });
  await compareCalls({ ours, peer: { ...ours, service: echo } }, effort, pairs);
  await Promise.all([service.stop(), echo.stop('SIGKILL')]);
}

async function besideTeacher(
  folder: string,
  seed: number,
  { turns, ms }: Effort,
  pairs: Pairs,
): Promise<void> {
  const student = await startQueryService(folder, {});
  const teacher = await startQueryService(folder, { SCALINGNOTE_QUERY_TOWER: TEACHER });
  const texts = distinctTexts(TEXTS, seed);
  const sides = [encodes(student, texts, TEXTS_A_CALL), encodes(teacher, texts, TEXTS_A_CALL)] as const;
  await warmUp(sides[0], 1);
  for (let turn = 0; turn < turns; turn++) {
    const load = `calls of ${TEXTS_A_CALL} texts`;
    const seen = await pairs.measure(load, turn, sides, (side) => closedLoop(side, 1, 2 * ms));
    if (seen) pairs.add(BESIDE_TEACHER, '/s', seen[0].perSecond, seen[1].perSecond);
  }
  await Promise.all([student.stop(), teacher.stop()]);
}

function encodes(service: Process, texts: readonly string[], textsOfOne: number): Side {
  const bodies = Array.from({ length: Math.floor(texts.length / textsOfOne) }, (_, call) =>
    framed(Encode.requestSerialize({ texts: texts.slice(call * textsOfOne, (call + 1) * textsOfOne) })),
  );
  return { service, path: Encode.path, bodies };
}
