import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { Hono, type HonoRequest } from 'hono';
import { takes } from '../http/body.ts';
import { HttpError } from '../http/errors.ts';
import { OtlpError, readSpans } from './otlp.ts';
import type { TraceQuery, TraceStore } from './store.ts';

/** Largest body of spans, packed or unpacked: an exporter's batch of 512 is a twentieth of this. */
export const MAX_EXPORT_BYTES = 16 * 1024 * 1024;

const TYPES = { protobuf: 'application/x-protobuf', json: 'application/json' } as const;
const ORDERS = ['latest', 'slowest', 'failed'] as const;
const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 1000;

const unzip = promisify(gunzip);

/** Takes spans (OTLP over HTTP), and tells of traces. */
export function traceRoutes(store: TraceStore): Hono {
  return new Hono()
    .post('/v1/traces', takes(Object.values(TYPES), MAX_EXPORT_BYTES), async ({ req, body }) => {
      const encoding = req.header('content-type')?.startsWith(TYPES.json) ? 'json' : 'protobuf';
      try {
        store.add(readSpans(await unpacked(req), encoding));
      } catch (error) {
        if (error instanceof OtlpError) throw badRequest(error.message);
        throw error;
      }
      // All spans were accepted.
      return body(encoding === 'json' ? '{}' : '', 200, { 'content-type': TYPES[encoding] });
    })
    .get('/api/traces', (context) => context.json(store.list(traceQuery(context.req))))
    .get('/api/traces/stats', (context) => context.json(store.stats()))
    .get('/api/traces/:id', (context) => {
      const id = traceId(context.req.param('id'));
      const trace = store.get(id);
      if (trace) return context.json(trace);
      throw new HttpError(
        404,
        'TRACE_NOT_FOUND',
        `no span of trace ${id} is here: it was not sampled, is not finished, or newer ones took its place`,
      );
    })
    .get('/api/traces/linked/:id/:span', ({ req, json }) =>
      json(store.linkedTo(traceId(req.param('id')), req.param('span'))),
    );
}

async function unpacked(req: HonoRequest): Promise<Uint8Array> {
  const body = Buffer.from(await req.arrayBuffer());
  const encoding = req.header('content-encoding') ?? 'identity';
  if (encoding === 'identity') return body;
  if (encoding !== 'gzip') {
    throw new HttpError(415, 'ENCODING_NOT_SUPPORTED', `content-encoding is ${encoding}; send gzip, or none`);
  }
  try {
    return await unzip(body, { maxOutputLength: MAX_EXPORT_BYTES });
  } catch (error) {
    throw badRequest(`the body can't be unpacked: ${(error as Error).message}`);
  }
}

function traceQuery(req: HonoRequest): TraceQuery {
  const order = ORDERS.find((each) => each === (req.query('order') ?? 'latest'));
  if (order === undefined) throw badRequest(`order: is not one of ${ORDERS.join(', ')}`);
  const text = req.query('limit') ?? String(DEFAULT_LIMIT);
  const limit = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT) {
    throw badRequest(`limit: must be a whole number from 1 to ${MAX_LIMIT}`);
  }
  return { order, limit, service: req.query('service'), name: req.query('name') };
}

function traceId(text: string): string {
  const id = text.toLowerCase();
  if (/^[0-9a-f]{32}$/.test(id)) return id;
  throw badRequest(`${JSON.stringify(text)} is no trace id; it has 32 hex digits`);
}

function badRequest(message: string): HttpError {
  return new HttpError(400, 'INVALID_ARGUMENT', message);
}
