import { computed, signal } from '@preact/signals';
import { intervalOf, type Look, withLook } from '../../shared/interval.ts';
import type { MeasuresAnswer, ServiceMeasures } from '../../shared/wire.ts';
import { get } from '../api.ts';

type Kind = ServiceMeasures['kind'];

/** How often the page reads the measures while it shows them. */
export const MEASURE_EVERY_MS = 1000;

const looks = signal<Readonly<Record<Kind, readonly Look[]>>>({ document: [], query: [] });
/** Why the console can't read a service's measures. */
export const measuresProblems = signal<Readonly<Partial<Record<Kind, string>>>>({});

/** The measures of each service now, and their growth in the last seconds. */
export const measured = computed(() => ({
  document: { now: looks.value.document.at(-1)?.measures, lately: intervalOf(looks.value.document) },
  query: { now: looks.value.query.at(-1)?.measures, lately: intervalOf(looks.value.query) },
}));

/** Reads the measures. */
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
    // The head of every view says that the console is away.
    looks.value = { document: [], query: [] };
  }
}
