import { Hono } from 'hono';
import { readJson, takes } from '../http/body.ts';
import { badRequest } from '../http/errors.ts';
import { MAX_CHUNK_BYTES } from '../shared/chunks-of.ts';
import { IngestBody, type IngestsAnswer } from '../shared/wire.ts';
import type { DeskOf } from '../desk.ts';

/**
 * The page sends a file in chunks of bounded size, one after the other. The answer to each waits until there is room for
 * the next, so that the document service's backpressure reaches the page and nothing piles up here. A browser could not
 * stream the file in one request and hear of its progress at the same time.
 */
export function ingestRoutes(deskOf: DeskOf): Hono {
  return new Hono()
    .get('/api/ingests', (context) =>
      context.json({
        ingests: deskOf(context)
          .ingests.list()
          .map((run) => run.state),
      } satisfies IngestsAnswer),
    )
    .post('/api/ingests', takes(), async (context) =>
      context.json(deskOf(context).ingests.start(await readJson(context, IngestBody)).state, 201),
    )
    .post(
      '/api/ingests/:id/chunks',
      takes(['application/octet-stream'], MAX_CHUNK_BYTES),
      async (context) => {
        const run = deskOf(context).ingests.get(context.req.param('id'));
        const text = context.req.query('offset') ?? '';
        const offset = /^\d+$/.test(text) ? Number(text) : Number.NaN;
        if (!Number.isSafeInteger(offset) || offset < 0) {
          throw badRequest('offset', 'must be the number of bytes that were sent before');
        }
        await run.receive(offset, Buffer.from(await context.req.arrayBuffer()));
        return context.json(run.state);
      },
    )
    .post('/api/ingests/:id/end', takes(), (context) => {
      const run = deskOf(context).ingests.get(context.req.param('id'));
      run.finish();
      return context.json(run.state);
    })
    .delete('/api/ingests/:id', (context) => {
      const run = deskOf(context).ingests.get(context.req.param('id'));
      run.cancel();
      return context.json(run.state);
    });
}
