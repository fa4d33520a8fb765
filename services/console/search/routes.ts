import { Hono } from 'hono';
import * as z from 'zod';
import { parseFilter } from '../../../clients/index.ts';
import { readJson, takes } from '../http/body.ts';
import { fromCallError } from '../http/errors.ts';
import type { CosinesBody, SearchBody } from '../shared/wire.ts';
import type { QueryServices } from './query-services.ts';

/** More conditions than fit on a screen. */
const MAX_FILTERS = 64;

/** The query service checks texts and their limits; this checks the console's own fields. */
const Search: z.ZodType<SearchBody> = z.strictObject({
  session: z.string().min(1).max(64),
  service: z.string(),
  collection: z.string(),
  tenant: z.string(),
  query: z.string(),
  limit: z.int(),
  mode: z.enum(['dense', 'sparse', 'hybrid']),
  filters: z.array(z.string()).max(MAX_FILTERS),
});

const Cosines: z.ZodType<CosinesBody> = z.strictObject({
  text: z.string(),
  services: z.array(z.string()).min(1).max(16),
});

/** Search as you type, and how query towers differ. */
export function searchRoutes(services: QueryServices): Hono {
  return new Hono()
    .post('/api/search', takes(), async (context) => {
      const { session, service, filters, ...request } = await readJson(context, Search);
      const filter = readFilter(filters);
      return context.json(await services.search(session, service, { ...request, filter }));
    })
    .post('/api/cosines', takes(), async (context) => {
      const { text, services: compared } = await readJson(context, Cosines);
      return context.json(await services.cosines(text, compared));
    });
}

function readFilter(filters: readonly string[]): ReturnType<typeof parseFilter> {
  try {
    return parseFilter(filters);
  } catch (error) {
    throw fromCallError(error, '');
  }
}
