import * as z from 'zod';
import { parseFilter } from '../../../clients/index.ts';
import { parseBody } from '../http/body.ts';
import { fromCallError } from '../http/errors.ts';
import type { Route } from '../http/routes.ts';
import type { CosinesBody, SearchBody } from '../shared/wire.ts';
import type { QueryServices } from './query-services.ts';

/** More conditions than fit on a screen. */
const MAX_FILTERS = 64;

/** Lines and limits of texts are the query service's to check; these are the bridge's own fields. */
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
export function searchRoutes(services: QueryServices): Route[] {
  return [
    {
      method: 'POST',
      path: '/api/search',
      handle: async ({ body }) => {
        const { session, service, filters, ...request } = parseBody(Search, body);
        const filter = readFilter(filters);
        return { json: await services.search(session, service, { ...request, filter }) };
      },
    },
    {
      method: 'POST',
      path: '/api/cosines',
      handle: async ({ body }) => {
        const { text, services: compared } = parseBody(Cosines, body);
        return { json: await services.cosines(text, compared) };
      },
    },
  ];
}

function readFilter(filters: readonly string[]): ReturnType<typeof parseFilter> {
  try {
    return parseFilter(filters);
  } catch (error) {
    throw fromCallError(error, '');
  }
}
