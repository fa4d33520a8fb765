import { computed, signal } from '@preact/signals';
import type { CosinesAnswer, SearchAnswer, SearchBody } from '../../shared/wire.ts';
import { type ApiError, post } from '../api.ts';
import { aliases, queryServices } from '../system/state.ts';

type Found = Extract<SearchAnswer, { superseded: false }>;

/** The answer of one query service. */
export interface Column {
  /** The answer to the newest query that has one. */
  found?: Found & { query: string; wallMs: number };
  /** Why the newest query failed. */
  problem?: ApiError;
}

/** The inputs of a search. */
export const query = signal('');
export const chosenCollection = signal('');
export const mode = signal<SearchBody['mode']>('dense');
export const limit = signal(10);
export const filters = signal<readonly string[]>([]);
export const comparing = signal(false);
/** Whether each hit says why it ranks where it does. */
export const explaining = signal(false);
/** Id of a document that is to say why it is not among the hits; empty for none. */
export const missingId = signal('');

/** Longest snippet of a hit that is folded: about three lines. */
const SNIPPET_LENGTH = 280;

/** The answers, by address of the query service. */
export const columns = signal<ReadonlyMap<string, Column>>(new Map());
export const cosines = signal<(CosinesAnswer & { services: readonly string[] }) | undefined>(undefined);
/** How many queries have no answer yet. */
export const pending = signal(0);

/** The collection that is searched: the chosen one, or the largest of the query tower's space while nothing was chosen. */
export const collection = computed(() => {
  if (chosenCollection.value !== '') return chosenCollection.value;
  const space = queryServices.value[0]?.info?.tower.space.fingerprint;
  const fitting = aliases.value.find(({ collection }) => collection.space.fingerprint === space);
  return (fitting ?? aliases.value[0])?.alias ?? '';
});

/** Addresses that are asked: the first query service, or all while they are compared. */
export const asked = computed<readonly string[]>(() => {
  const addresses = queryServices.value.map(({ address }) => address);
  return comparing.value ? addresses : addresses.slice(0, 1);
});

/** All that a search depends on, as one text. */
const subject = computed(() =>
  JSON.stringify([
    query.value,
    collection.value,
    mode.value,
    limit.value,
    filters.value,
    asked.value,
    explaining.value,
    missingId.value,
  ]),
);

const session = crypto.randomUUID();
/** Pause before the page repeats a query, after the service was away. */
const RETRY_MS = 2000;

let sequence = 0;
let retry: number | undefined;

/** Asks whenever what is asked changes: each keystroke is a query, and supersedes the one before it. */
subject.subscribe(() => ask());

/** Sends the query to every service that is asked. */
export function ask(): void {
  clearTimeout(retry);
  const mine = ++sequence;
  if (query.value.trim() === '' || collection.value === '') {
    columns.value = new Map();
    cosines.value = undefined;
    return;
  }
  const services = asked.value;
  // Remove the columns of towers that are no longer compared.
  columns.value = new Map([...columns.value].filter(([address]) => services.includes(address)));
  for (const service of services) void askOne(service, mine);
  if (comparing.value && services.length > 1) void askCosines(services, mine);
  else cosines.value = undefined;
}

/** The newest query that each column shows. */
const shown = new Map<string, number>();

/**
 * Queries in flight to one service. A browser sends six requests at a time to a host: beyond these few, only the newest
 * query waits here, and it replaces an older one that waits, which nobody wants any more.
 */
const MAX_IN_FLIGHT = 3;
const inFlight = new Map<string, Set<Promise<void>>>();

async function askOne(service: string, mine: number): Promise<void> {
  const started = performance.now();
  const open = inFlight.get(service) ?? new Set();
  inFlight.set(service, open);
  while (open.size >= MAX_IN_FLIGHT) {
    await Promise.race(open);
    if (mine !== sequence) return;
  }
  const sent = send(service, mine, started).finally(() => open.delete(sent));
  open.add(sent);
}

async function send(service: string, mine: number, started: number): Promise<void> {
  const body: SearchBody = {
    session,
    service,
    collection: collection.value,
    tenant: '',
    query: query.value,
    limit: limit.value,
    mode: mode.value,
    filters: filters.value,
    snippetLength: SNIPPET_LENGTH,
    ...(explaining.value && { explain: true }),
    ...(explaining.value && missingId.value.trim() !== '' && { explainDocumentId: missingId.value.trim() }),
  };
  pending.value++;
  try {
    const answer = await post<SearchAnswer>('/api/search', body);
    if (answer.superseded || (shown.get(service) ?? 0) > mine) return;
    shown.set(service, mine);
    // The column may be gone by now, or the query deleted.
    if (!asked.value.includes(service) || query.value.trim() === '') return;
    const wallMs = performance.now() - started;
    put(service, { found: { ...answer, query: body.query, wallMs } });
  } catch (error) {
    if (mine !== sequence) return;
    const problem = error as ApiError;
    put(service, { ...columns.value.get(service), problem });
    if (problem.status === 503 || problem.status === 0 || problem.status === 429) {
      clearTimeout(retry);
      retry = setTimeout(ask, Math.max(RETRY_MS, problem.retryDelayMs ?? 0));
    }
  } finally {
    pending.value--;
  }
}

async function askCosines(services: readonly string[], mine: number): Promise<void> {
  try {
    const answer = await post<CosinesAnswer>('/api/cosines', { text: query.value, services });
    if (mine === sequence) cosines.value = { ...answer, services };
  } catch {
    // Each column says what is wrong with its service.
    if (mine === sequence) cosines.value = undefined;
  }
}

function put(service: string, column: Column): void {
  columns.value = new Map([...columns.value, [service, column]]);
}

/** Adds a condition, unless it is there already. */
export function addFilter(condition: string): void {
  if (!filters.value.includes(condition)) filters.value = [...filters.value, condition];
}

export function removeFilter(condition: string): void {
  filters.value = filters.value.filter((each) => each !== condition);
}
