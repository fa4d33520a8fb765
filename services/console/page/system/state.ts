import { computed, signal } from '@preact/signals';
import type { Collection, ServiceState, SystemAnswer } from '../../shared/wire.ts';
import { type ApiError, get } from '../api.ts';

/** How often the page asks for the system: it notices a lost service within this. */
export const LOOK_EVERY_MS = 4000;

/** The system as it was last seen; undefined before the first answer. */
export const system = signal<SystemAnswer | undefined>(undefined);
/** Why the last request for it failed. */
export const systemProblem = signal<ApiError | undefined>(undefined);

/** Asks for the system again. */
export async function look(): Promise<void> {
  try {
    system.value = await get<SystemAnswer>('/api/system');
    systemProblem.value = undefined;
  } catch (error) {
    systemProblem.value = error as ApiError;
  }
}

/** Each alias with the collection that it leads to, the largest first. */
export const aliases = computed<readonly { alias: string; collection: Collection }[]>(() =>
  (system.value?.collections ?? [])
    .flatMap((collection) => collection.aliases.map((alias) => ({ alias, collection })))
    .sort((a, b) => b.collection.documents - a.collection.documents),
);

/** The query services, the one that answers searches first. */
export const queryServices = computed<readonly ServiceState[]>(
  () => system.value?.services.filter(({ kind }) => kind === 'query') ?? [],
);

/** Services that do not serve. */
export const away = computed<readonly ServiceState[]>(
  () => system.value?.services.filter(({ health }) => health !== 'SERVING') ?? [],
);

/** Names a query service by its tower, or by its address while that is unknown. */
export function nameOf(service: ServiceState): string {
  return service.info?.tower.name ?? service.address;
}
