import { readFileSync } from 'node:fs';
import type { Schemas } from '@qdrant/js-client-rest';
import { request } from 'undici';
import { type Answer, type FakeServer, type Seen, startFakeServer } from './fake-server.ts';

/** A collection as a released version wrote it: what it sent to make the collection, and the points as they lie there. */
export interface Fixture {
  written_by: string;
  collection: string;
  create: Record<string, unknown>;
  indexes: { field_name: string; field_schema: unknown }[];
  described: Schemas['CollectionInfo'];
  aliases: Schemas['CollectionsAliasesResponse'];
  points: { id: string; vector: object; payload: Record<string, unknown> }[];
}

/** The file is not compiled, so this path leads from the compiled file to the source. */
const FIXTURES = new URL('../../../../store/qdrant/testing/fixtures/', import.meta.url);

/** @param name of the file, without its ending */
export function fixture(name: string): Fixture {
  return JSON.parse(readFileSync(new URL(`${name}.json`, FIXTURES), 'utf8')) as Fixture;
}

/** Makes the collection of a fixture on a server. */
export async function loadFixture(
  url: string,
  { collection, create, indexes, points, aliases }: Fixture,
): Promise<void> {
  const send = async (method: 'PUT' | 'POST', path: string, body: object): Promise<void> => {
    const answer = await request(url + path, { method, body: JSON.stringify(body) });
    const said = await answer.body.text();
    if (answer.statusCode !== 200) throw new Error(`${method} ${path}: ${answer.statusCode} ${said}`);
  };
  const path = `/collections/${collection}`;
  await send('PUT', path, create);
  for (const index of indexes) await send('PUT', `${path}/index?wait=true`, index);
  await send('PUT', `${path}/points?wait=true`, { points });
  await send('POST', '/collections/aliases', {
    actions: aliases.aliases.map((alias) => ({ create_alias: alias })),
  });
}

/**
 * A server that has the collection of a fixture and does what an upgrade and simple reads need, for where there is no
 * engine: it adds indexes and metadata, keeps the first of the points with an id, and gives points by id, or all heads
 * or all other passages.
 */
export async function startRecordedServer(
  context: { after(end: () => void): void },
  { collection, described, points: kept, aliases }: Fixture,
): Promise<FakeServer & { info: Schemas['CollectionInfo']; points: Fixture['points'] }> {
  const info = structuredClone(described);
  const points = structuredClone(kept);
  const path = `/collections/${collection}`;
  const pick = (point: Fixture['points'][number], keys: readonly string[], withVector: boolean) => ({
    id: point.id,
    payload: Object.fromEntries(Object.entries(point.payload).filter(([key]) => keys.includes(key))),
    ...(withVector && { vector: point.vector }),
  });
  const answer = (seen: Seen): Answer => {
    const body = (seen.body === '' ? {} : JSON.parse(seen.body)) as {
      field_name: string;
      metadata: Record<string, unknown>;
      points: Fixture['points'];
      ids: string[];
      with_payload: string[];
      with_vector: boolean;
    };
    switch (`${seen.method} ${seen.path}`) {
      case 'GET /aliases':
        return { result: aliases };
      case 'GET /collections':
        return { result: { collections: [{ name: collection }] } };
      case `GET ${path}`:
        return { result: info };
      case `PATCH ${path}`:
        info.config.metadata = { ...info.config.metadata, ...body.metadata };
        return { result: true };
      case `PUT ${path}/index`:
        info.payload_schema[body.field_name] = { data_type: 'keyword', points: 0 };
        return { result: { status: 'completed' } };
      case `PUT ${path}/points`:
        for (const point of body.points) if (!points.some(({ id }) => id === point.id)) points.push(point);
        return { result: { status: 'completed' } };
      case `POST ${path}/points`:
        return {
          result: points
            .filter(({ id }) => body.ids.includes(id))
            .map((point) => pick(point, body.with_payload, body.with_vector)),
        };
      case `POST ${path}/points/scroll`: {
        const heads = !seen.body.includes('{"key":"passage","range":{"gte":1}}');
        const found = points.filter(({ payload }) =>
          heads ? payload['passage'] === 0 && payload['tenant'] === 'tenant' : Number(payload['passage']) > 0,
        );
        const page = found.map((point) => pick(point, body.with_payload, body.with_vector));
        return { result: { points: page, next_page_offset: null } };
      }
      case `POST ${path}/points/count`:
        return { result: { count: points.length } };
      default:
        return { status: 404, headers: {}, body: '' };
    }
  };
  const server = await startFakeServer(context, answer);
  return { ...server, info, points };
}
