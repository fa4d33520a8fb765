import { Hono } from 'hono';
import { parseFilter } from '../../../clients/index.ts';
import { readJson, takes } from '../http/body.ts';
import { fromCallError } from '../http/errors.ts';
import { CosinesBody, SearchBody } from '../shared/wire.ts';
import type { DeskOf } from '../desk.ts';

/** Search as you type, and how query towers differ. */
export function searchRoutes(deskOf: DeskOf): Hono {
  return new Hono()
    .post('/api/search', takes(), async (context) => {
      const { session, service, filters, ...request } = await readJson(context, SearchBody);
      const filter = readFilter(filters);
      return context.json(await deskOf(context).queries.search(session, service, { ...request, filter }));
    })
    .post('/api/cosines', takes(), async (context) => {
      const { text, services: compared } = await readJson(context, CosinesBody);
      return context.json(await deskOf(context).queries.cosines(text, compared));
    });
}

function readFilter(filters: readonly string[]): ReturnType<typeof parseFilter> {
  try {
    return parseFilter(filters);
  } catch (error) {
    throw fromCallError(error, '');
  }
}
