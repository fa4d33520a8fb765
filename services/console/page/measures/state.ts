import { computed, signal } from '@preact/signals';
import { intervalOf, type Look, withLook } from '../../shared/interval.ts';
import type { MeasuresAnswer, ServiceMeasures } from '../../shared/wire.ts';
import { get } from '../api.ts';

type Kind = ServiceMeasures['kind'];

/** How often the measures are read while they are shown. */
export const MEASURE_EVERY_MS = 1000;

const looks = signal<Readonly<Record<Kind, readonly Look[]>>>({ document: [], query: [] });
/** Why a service's measures can't be read. */
export const measuresProblems = signal<Readonly<Partial<Record<Kind, string>>>>({});

/** What services measure now, and what happened in the last seconds. */
export const measured = computed(() => ({
  document: { now: looks.value.document.at(-1)?.measures, lately: intervalOf(looks.value.document) },
  query: { now: looks.value.query.at(-1)?.measures, lately: intervalOf(looks.value.query) },
}));

/** Reads them. */
export async function measure(): Promise<void> {
  try {
    const { services } = await get<MeasuresAnswer>('/api/measures');
    const problems: Partial<Record<Kind, string>> = {};
    const next = { ...looks.value };
    for (const service of services) {
      next[service.kind] = withLook(looks.value[service.kind], service);
      if (service.problem !== undefined) problems[service.kind] = service.problem;
    }
    looks.value = next;
    measuresProblems.value = problems;
  } catch {
    // That the console is away is told at the head of every view.
    looks.value = { document: [], query: [] };
  }
}
