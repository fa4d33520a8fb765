import { Hono } from 'hono';
import * as z from 'zod';
import type { Desk, DeskOf } from './desk.ts';
import type { Measures, MeasuresAnswer, ServiceMeasures } from './shared/wire.ts';

/** Services answer from memory, on this machine or near it. */
const TIMEOUT_MS = 1_500;

const Attributes = z.record(z.string(), z.unknown());

/** The part of a service's `/metrics.json` that the console reads. */
const Series = z.array(
  z.object({
    name: z.string(),
    points: z.array(
      z.union([
        z.object({ attributes: Attributes, value: z.number() }),
        z.object({ attributes: Attributes, count: z.number(), sum: z.number() }),
      ]),
    ),
  }),
);
type Series = z.infer<typeof Series>;
type Point = Series[number]['points'][number];

/** Tells what the services measure. @param addresses - of their metrics, by kind; empty where they serve none */
export function measureRoutes(
  addresses: Readonly<Record<ServiceMeasures['kind'], string>>,
  deskOf: DeskOf,
): Hono {
  return new Hono().get('/api/measures', async (context) => {
    const services = await Promise.all(
      (['document', 'query'] as const).map((kind) => read(kind, addresses[kind], deskOf(context))),
    );
    return context.json({ services } satisfies MeasuresAnswer);
  });
}

async function read(kind: ServiceMeasures['kind'], address: string, desk: Desk): Promise<ServiceMeasures> {
  const at = Date.now();
  if (address === '') {
    return { kind, at, problem: `the ${kind} service serves no metrics; name them with --${kind}-metrics` };
  }
  try {
    const response = await desk.metrics(address, TIMEOUT_MS);
    if (response.status === 401 || response.status === 403) {
      return { kind, at, problem: (await response.text()).trim() };
    }
    return { kind, at, measures: summarise(Series.parse(await response.json())) };
  } catch {
    return { kind, at, problem: `no metrics at ${address}; name the right address with --${kind}-metrics` };
  }
}

/** Calls that end when they are answered. A stream lasts as long as its caller likes. */
function isCall({ attributes }: Point): boolean {
  return !/\/(?:Ingest|SearchStream)$/.test(String(attributes['rpc.method']));
}

/** Picks the numbers that the page shows from all series of a service. */
export function summarise(series: Series): Measures {
  const sum = (
    name: string,
    field: 'value' | 'count' | 'sum',
    keep: (point: Point) => boolean = () => true,
  ): number =>
    series
      .filter((each) => each.name === name)
      .flatMap(({ points }) => points.filter(keep))
      .reduce((all, point) => all + Number((point as Record<string, unknown>)[field] ?? 0), 0);
  const value = (name: string, key?: string, wanted?: string): number =>
    sum(name, 'value', ({ attributes }) => key === undefined || attributes[key] === wanted);
  /** Of a service of several processes, that which is worst off. */
  const largest = (name: string): number =>
    Math.max(
      0,
      ...series
        .filter((each) => each.name === name)
        .flatMap(({ points }) => points.map((point) => ('value' in point ? point.value : 0))),
    );
  const count = (name: string): number => sum(name, 'count');
  const total = (name: string): number => sum(name, 'sum');
  return {
    gauges: {
      queue: value('scalingnote.queue.depth'),
      streams: value('scalingnote.ingest.streams'),
      tokensInFlight: value('scalingnote.ingest.tokens_in_flight'),
      watermarkLag: value('scalingnote.ingest.watermark_lag'),
      watermarkAge: value('scalingnote.ingest.watermark_age'),
      memory: value('process.memory.usage'),
      loopDelayP99: largest('nodejs.eventloop.delay.p99'),
    },
    totals: {
      calls: sum('rpc.server.call.duration', 'count', isCall),
      callSeconds: sum('rpc.server.call.duration', 'sum', isCall),
      refused: value('scalingnote.rejected'),
      documents: value('scalingnote.documents'),
      documentsRejected: value('scalingnote.documents', 'scalingnote.document.outcome', 'rejected'),
      batches: count('scalingnote.batch.size'),
      batchInputs: total('scalingnote.batch.size'),
      batchTokens: total('scalingnote.batch.tokens'),
      batchPadding: total('scalingnote.batch.padding'),
      batchSeconds: total('scalingnote.batch.duration'),
      cacheLookups: value('scalingnote.cache.lookups'),
      cacheHits: value('scalingnote.cache.lookups', 'scalingnote.result', 'hit'),
      compared: count('scalingnote.live.cosine'),
      cosine: total('scalingnote.live.cosine'),
      overlap: total('scalingnote.live.overlap'),
    },
  };
}
