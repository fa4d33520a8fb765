import * as z from 'zod';
import { parseBody } from '../http/body.ts';
import { badRequest } from '../http/errors.ts';
import type { Route } from '../http/routes.ts';
import { type IngestBody, type IngestsAnswer, MAX_CHUNK_BYTES } from '../shared/wire.ts';
import type { Ingests } from './ingests.ts';

const Begin: z.ZodType<IngestBody> = z.strictObject({
  name: z.string().min(1).max(1024),
  bytes: z.int().min(0),
  collection: z.string().min(1, 'is empty; name the collection'),
  tenant: z.string(),
  omitText: z.boolean(),
});

/**
 * A file comes in chunks of bounded size, one after the other; each is answered when there is room for the next, so
 * that the document service's backpressure reaches the page and nothing piles up here. A browser could not stream
 * the file in one request and hear of its progress at the same time.
 */
export function ingestRoutes(ingests: Ingests): Route[] {
  return [
    {
      method: 'GET',
      path: '/api/ingests',
      handle: () => ({ json: { ingests: ingests.list().map((run) => run.state) } satisfies IngestsAnswer }),
    },
    {
      method: 'POST',
      path: '/api/ingests',
      handle: ({ body }) => ({ status: 201, json: ingests.start(parseBody(Begin, body)).state }),
    },
    {
      method: 'POST',
      path: '/api/ingests/:id/chunks',
      accepts: ['application/octet-stream'],
      maxBodyBytes: MAX_CHUNK_BYTES,
      handle: async ({ params, query, body }) => {
        const run = ingests.get(params['id']!);
        const offset = Number(query.get('offset') ?? Number.NaN);
        if (!Number.isSafeInteger(offset) || offset < 0) {
          throw badRequest('offset', 'must be the number of bytes that were sent before');
        }
        await run.receive(offset, body);
        return { json: run.state };
      },
    },
    {
      method: 'POST',
      path: '/api/ingests/:id/end',
      handle: ({ params }) => {
        const run = ingests.get(params['id']!);
        run.finish();
        return { json: run.state };
      },
    },
    {
      method: 'DELETE',
      path: '/api/ingests/:id',
      handle: ({ params }) => {
        const run = ingests.get(params['id']!);
        run.cancel();
        return { json: run.state };
      },
    },
  ];
}
