import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { HttpError } from '../http/errors.ts';
import type { Request, Route } from '../http/routes.ts';
import { emptyResponse, OtlpError, readSpans } from './otlp.ts';
import type { TraceQuery, TraceStore } from './store.ts';

/** Largest body of spans, packed or unpacked: an exporter's batch of 512 is a twentieth of this. */
export const MAX_EXPORT_BYTES = 16 * 1024 * 1024;

const TYPES = { protobuf: 'application/x-protobuf', json: 'application/json' } as const;
const ORDERS = ['latest', 'slowest', 'failed'] as const;
const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 1000;

const unzip = promisify(gunzip);

/** Where spans come in (OTLP over HTTP) and where traces are read. */
export function traceRoutes(store: TraceStore): Route[] {
  return [
    {
      method: 'POST',
      path: '/v1/traces',
      forPrograms: true,
      maxBodyBytes: MAX_EXPORT_BYTES,
      accepts: Object.values(TYPES),
      handle: async (request) => {
        const encoding = request.headers['content-type']?.startsWith(TYPES.json) ? 'json' : 'protobuf';
        const body = await unpacked(request);
        try {
          store.add(readSpans(body, encoding));
        } catch (error) {
          if (error instanceof OtlpError) throw badRequest(error.message);
          throw error;
        }
        return { type: TYPES[encoding], bytes: emptyResponse(encoding) };
      },
    },
    {
      method: 'GET',
      path: '/api/traces',
      handle: ({ query }) => ({ json: store.list(traceQuery(query)) }),
    },
    {
      method: 'GET',
      path: '/api/traces/stats',
      handle: () => ({ json: store.stats() }),
    },
    {
      method: 'GET',
      path: '/api/traces/:id',
      handle: ({ params }) => {
        const id = traceId(params['id']);
        const trace = store.get(id);
        if (trace) return { json: trace };
        throw new HttpError(
          404,
          'TRACE_NOT_FOUND',
          `no span of trace ${id} is here: it was not sampled, is not finished, or newer ones took its place`,
        );
      },
    },
    {
      method: 'GET',
      path: '/api/traces/linked/:id/:span',
      handle: ({ params }) => ({ json: store.linkedTo(traceId(params['id']), params['span'] ?? '') }),
    },
  ];
}

async function unpacked({ headers, body }: Request): Promise<Uint8Array> {
  const encoding = headers['content-encoding'] ?? 'identity';
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

function traceQuery(query: URLSearchParams): TraceQuery {
  const order = ORDERS.find((each) => each === (query.get('order') ?? 'latest'));
  if (order === undefined) throw badRequest(`order: is not one of ${ORDERS.join(', ')}`);
  const limit = Number(query.get('limit') ?? DEFAULT_LIMIT);
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT) {
    throw badRequest(`limit: must be a whole number from 1 to ${MAX_LIMIT}`);
  }
  const service = query.get('service');
  const name = query.get('name');
  return { order, limit, ...(service === null ? {} : { service }), ...(name === null ? {} : { name }) };
}

function traceId(text: string | undefined): string {
  const id = (text ?? '').toLowerCase();
  if (/^[0-9a-f]{32}$/.test(id)) return id;
  throw badRequest(`${JSON.stringify(text)} is no trace id; it has 32 hex digits`);
}

function badRequest(message: string): HttpError {
  return new HttpError(400, 'INVALID_ARGUMENT', message);
}
