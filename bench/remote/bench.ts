import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Pool } from 'undici';
import { type Process, startProcess } from '../../services/runtime/testing/processes.ts';
import { pullTower } from '../../towers/pull.ts';
import { ingestTexts } from '../ingest/send.ts';
import { drive } from '../qdrant/load.ts';
import { type Bench, median } from '../report.ts';

/** How long the server takes for a request, as a model on an accelerator may for a full batch. */
const ANSWER_MS = 200;
/** Requests at once: what the tower may make, and what the bare client makes. */
const CONCURRENCY = 8;
/** Texts of a request. */
const BATCH = 32;
/**
 * Requests that a round takes at the least: 36 for each place, so that the first one, which is sent before it is full, and
 * the one more that the texts need for it, do not count much. The service's first limit of requests, 4, grows in the warm-up.
 */
const REQUESTS = 288;
const DOCUMENTS = REQUESTS * BATCH;
/** Streams into the service. */
const STREAMS = 4;
const ROUNDS = 5;
/** Rounds that are not counted: code gets compiled, and the tower learns how many requests at once the server bears. */
const WARM_UP_ROUNDS = 2;
const GOAL = 0.95;

/** What a side did in a round. */
interface Turn {
  perSecond: number;
  /** What the server saw. */
  requests: number;
  busiest: number;
}

/**
 * Compares documents that go through the document service to a remote tower, and are stored, with the same texts sent to
 * the same server by a client that does nothing but that.
 */
export const bench: Bench = {
  run: async (progress) => {
    const folder = mkdtempSync(join(tmpdir(), 'scalingnote-bench-'));
    const server = await startProcess(new URL('./server.js', import.meta.url), [String(ANSWER_MS)]);
    let service: Process | undefined;
    try {
      progress('making the tower');
      const tower = await makeTower(server.address, folder);
      service = await startProcess(new URL('../../services/document/main.js', import.meta.url), [], {
        XDG_CACHE_HOME: join(folder, 'cache'),
        SCALINGNOTE_DATA: join(folder, 'data'),
        SCALINGNOTE_DOCUMENT_TOWER: tower,
        SCALINGNOTE_PORT_DOCUMENT: '0',
        SCALINGNOTE_METRICS_PORT_DOCUMENT: '0',
        OTEL_SDK_DISABLED: 'true',
        // The probes are requests that the other side does not make.
        SCALINGNOTE_DRIFT_CHECK_S: '0',
      });
      const turns: Record<'ours' | 'peer', Turn[]> = { ours: [], peer: [] };
      for (let round = 1 - WARM_UP_ROUNDS; round <= ROUNDS; round++) {
        progress(round < 1 ? 'warming up' : `round ${round} of ${ROUNDS}`);
        const texts = Array.from({ length: DOCUMENTS }, (_, index) => textOf(round, index));
        const sides = {
          ours: () => ingestTexts(service!.address, `round-${round + WARM_UP_ROUNDS}`, texts, STREAMS),
          peer: () => sendBare(server.address, texts),
        };
        // Each side goes first in every other round.
        const order = round % 2 === 0 ? (['ours', 'peer'] as const) : (['peer', 'ours'] as const);
        for (const side of order) {
          const turn = await measure(sides[side], server);
          if (round >= 1) turns[side].push(turn);
        }
      }
      const ratios = turns.ours.map(({ perSecond }, index) => perSecond / turns.peer[index]!.perSecond);
      const ratio = median(ratios);
      return {
        parameters: {
          answerMs: ANSWER_MS,
          concurrency: CONCURRENCY,
          batch: BATCH,
          documents: DOCUMENTS,
          streams: STREAMS,
          rounds: ROUNDS,
          ours: 'documents ingested over gRPC, counted, encoded and written to the embedded store',
          peer: 'the same texts sent with undici, and the answers read',
          ratio: 'the median of the ratios of rounds; ours and peer are medians by themselves',
          ratios: ratios.map((each) => Number(each.toFixed(3))),
          requests: { ours: each(turns.ours, 'requests'), peer: each(turns.peer, 'requests') },
          busiest: { ours: each(turns.ours, 'busiest'), peer: each(turns.peer, 'busiest') },
        },
        comparisons: [
          {
            what: 'documents/s',
            unit: '/s',
            ours: median(turns.ours.map(({ perSecond }) => perSecond)),
            peer: median(turns.peer.map(({ perSecond }) => perSecond)),
            ratio,
            goal: { text: `at least ${GOAL}`, met: ratio >= GOAL },
          },
        ],
      };
    } finally {
      await service?.stop();
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

function each(turns: readonly Turn[], what: 'requests' | 'busiest'): number[] {
  return turns.map((turn) => turn[what]);
}

/** Makes the tower in the cache that the service uses. @returns its reference */
async function makeTower(url: string, folder: string): Promise<string> {
  const reference = `remote:${url}#tiny`;
  await pullTower(reference, {
    cacheDir: join(folder, 'cache', 'scalingnote'),
    remoteFacts: {
      maxTokens: 256,
      documentPrompt: '',
      queryPrompt: '',
      maxConcurrency: CONCURRENCY,
      maxBatchInputs: BATCH,
    },
  });
  return reference;
}

/** About twelve words, all texts different: equal ones would be encoded once. */
function textOf(round: number, index: number): string {
  return `hello world number ${index} of round ${round + WARM_UP_ROUNDS}: the small star sings to the sea`;
}

async function measure(side: () => Promise<void>, server: Process): Promise<Turn> {
  await seenBy(server);
  const started = performance.now();
  await side();
  const seconds = (performance.now() - started) / 1000;
  return { perSecond: DOCUMENTS / seconds, ...(await seenBy(server)) };
}

/** What the server saw since it was asked last. */
async function seenBy({ child }: Process): Promise<{ requests: number; busiest: number }> {
  const answer = once(child, 'message');
  child.send('seen');
  const [seen] = (await answer) as [{ requests: number; busiest: number }];
  return seen;
}

async function sendBare(url: string, texts: readonly string[]): Promise<void> {
  const pool = new Pool(url, { connections: CONCURRENCY });
  const send = async (index: number): Promise<void> => {
    const input = texts.slice(index * BATCH, (index + 1) * BATCH);
    const { statusCode, body } = await pool.request({
      method: 'POST',
      path: '/v1/embeddings',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'tiny', input, encoding_format: 'base64' }),
    });
    const { data } = (await body.json()) as { data: unknown[] };
    if (statusCode !== 200 || data.length !== input.length) throw new Error(`${url} answers ${statusCode}`);
  };
  try {
    await drive(send, 0, REQUESTS, CONCURRENCY);
  } finally {
    await pool.close();
  }
}
