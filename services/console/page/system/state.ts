import { computed, signal } from '@preact/signals';
import type { Collection, ServiceState, SystemAnswer } from '../../shared/wire.ts';
import { type ApiError, get } from '../api.ts';

/** How often the page looks at what there is: a service that went away is seen within this. */
export const LOOK_EVERY_MS = 4000;

/** What there is; undefined until it was asked once. */
export const system = signal<SystemAnswer | undefined>(undefined);
/** Why that can't be told. */
export const systemProblem = signal<ApiError | undefined>(undefined);

/** Asks again. */
export async function look(): Promise<void> {
  try {
    system.value = await get<SystemAnswer>('/api/system');
    systemProblem.value = undefined;
  } catch (error) {
    systemProblem.value = error as ApiError;
  }
}

/** What can be named: each alias with the collection that it leads to, the largest first. */
export const aliases = computed<readonly { alias: string; collection: Collection }[]>(() =>
  (system.value?.collections ?? [])
    .flatMap((collection) => collection.aliases.map((alias) => ({ alias, collection })))
    .sort((a, b) => b.collection.documents - a.collection.documents),
);

/** The query services, the one that answers searches first. */
export const queryServices = computed<readonly ServiceState[]>(
  () => system.value?.services.filter(({ kind }) => kind === 'query') ?? [],
);

/** Those that do not serve. */
export const away = computed<readonly ServiceState[]>(
  () => system.value?.services.filter(({ health }) => health !== 'SERVING') ?? [],
);

/** How a query service is called: by its tower, and by its address until that is known. */
export function nameOf(service: ServiceState): string {
  return service.info?.tower.name ?? service.address;
}
