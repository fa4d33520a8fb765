import { setTimeout as sleep } from 'node:timers/promises';
import { type Case, written } from './case.ts';
import type { Generator, Shrunk } from './generate.ts';
import { FAULTS, type Fault, type Finding, judge } from './judge.ts';
import { Sender } from './sender.ts';
import type { Service, Site } from './site.ts';

/** Cases between two looks at the services. */
const BATCH = 2_000;
/** Cases that are under way at a time on connections that they share: they keep the services busy. */
const SHARED_AT_ONCE = 24;
/** And those with a connection of their own, which mostly wait for it to say nothing more. */
const ALONE_AT_ONCE = 48;
/** How long services may take to forget calls that have ended. */
const FORGET_MS = 90_000;
const FORGET_STEP_MS = 250;
/** Smaller cases that are tried for one that fails. */
const MAX_SHRINKS = 400;
/** And for how long: a case with a connection of its own may take seconds. */
const MAX_SHRINK_MS = 60_000;
/** Findings that are shrunk and told of; more of them are counted. */
const MAX_TOLD = 12;
/** What a service may hold more at the end, beside its caches: more than this is no noise. */
const MAX_GROWTH_BYTES = 128 << 20;
/** Lines of a log that say that the service is at fault. */
const BAD_LINE = /"level":"(error|fatal)"|Warning:|^\s+at /m;

/** A case that fails. */
export interface Failure extends Finding {
  index: number;
  kind: string;
  /** The smallest that fails likewise, as text. */
  smallest: string;
}

/** What a run found. */
export interface Found {
  cases: number;
  seconds: number;
  byKind: Record<string, number>;
  statuses: Record<string, number>;
  faults: Record<Fault, number>;
  failures: Failure[];
  /** Memory of each service after a collection of garbage, in MiB: before and after. */
  memory: { service: string; rssBefore: number; rssAfter: number; heapBefore: number; heapAfter: number }[];
}

/** Sends cases from an index on, and judges what comes of each. */
export async function campaign(
  site: Site,
  generator: Generator,
  {
    from,
    cases,
    onBatch,
    onFinding,
  }: {
    from: number;
    cases: number;
    onBatch?: (done: number) => void;
    /** Told of each that is to be shrunk, before that. */
    onFinding?: (index: number, finding: Finding) => void;
  },
): Promise<Found> {
  const sender = new Sender(site);
  await sender.fill();
  const started = performance.now();
  const faults = Object.fromEntries(FAULTS.map((fault) => [fault, 0])) as Record<Fault, number>;
  const found: Found = { cases: 0, seconds: 0, byKind: {}, statuses: {}, faults, failures: [], memory: [] };
  const told = new Set<string>();
  const tell = async (index: number, finding: Finding, one: Case): Promise<void> => {
    faults[finding.fault]++;
    const name = `${one.kind}: ${finding.what.replaceAll(/\d+/g, '0')}`;
    if (told.has(name) || found.failures.length >= MAX_TOLD) return;
    told.add(name);
    onFinding?.(index, finding);
    const smallest = await shrink(generator, index, finding, sender);
    found.failures.push({ ...finding, index, kind: one.kind, smallest: written(smallest) });
  };
  const before = await Promise.all(site.services.map((service) => service.held()));
  for (const service of site.services) service.takeLog();
  for (let start = from; start < from + cases; start += BATCH) {
    const end = Math.min(start + BATCH, from + cases);
    const failed: { index: number; finding: Finding; one: Case }[] = [];
    const all = Array.from({ length: end - start }, (_, at) => ({
      index: start + at,
      one: generator.make(start + at),
    }));
    const isShared = ({ one: { wire } }: { one: Case }): boolean => wire.on === 'stream' && !wire.alone;
    const work = async (waiting: IterableIterator<(typeof all)[number]>): Promise<void> => {
      for (const { index, one } of waiting) {
        const outcome = await sender.send(one);
        found.cases++;
        found.byKind[one.kind] = (found.byKind[one.kind] ?? 0) + 1;
        for (const status of outcome.statuses) found.statuses[status] = (found.statuses[status] ?? 0) + 1;
        const finding = judge(one, outcome);
        if (finding) failed.push({ index, finding, one });
      }
    };
    const shared = all.filter(isShared).values();
    const alone = all.filter((each) => !isShared(each)).values();
    await Promise.all([
      ...Array.from({ length: SHARED_AT_ONCE }, () => work(shared)),
      ...Array.from({ length: ALONE_AT_ONCE }, () => work(alone)),
    ]);
    const dead = site.services.find((service) => !service.isAlive);
    if (dead) {
      faults.crash++;
      found.failures.push({
        fault: 'crash',
        what: `the ${dead.name} service has died: ${dead.takeLog().slice(-2_000)}`,
        index: start,
        kind: `a batch of ${end - start}`,
        smallest: failed[0] ? written(failed[0].one) : '',
      });
      break;
    }
    for (const { index, finding, one } of failed) await tell(index, finding, one);
    const canary = await sender.canary();
    if (canary !== undefined) {
      faults.canary++;
      found.failures.push({
        fault: 'canary',
        what: canary,
        index: start,
        kind: `a batch of ${end - start}`,
        smallest: '',
      });
    }
    const line = badLine(site.services);
    if (line !== undefined) {
      faults.log++;
      const index = await blame(site, sender, generator, start, end);
      found.failures.push({
        fault: 'log',
        what: line,
        index: index ?? start,
        kind: index === undefined ? `a batch of ${end - start}` : generator.make(index).kind,
        smallest: index === undefined ? '' : written(generator.make(index)),
      });
    }
    onBatch?.(end - from);
    if (found.failures.length >= MAX_TOLD) break;
  }
  sender.close();
  for (const what of await unforgotten(site)) {
    faults.leak++;
    found.failures.push({ fault: 'leak', what, index: from, kind: `all ${found.cases}`, smallest: '' });
  }
  found.seconds = Math.round((performance.now() - started) / 100) / 10;
  if (site.services.every(({ isAlive }) => isAlive)) {
    const after = await Promise.all(site.services.map((service) => service.held()));
    site.services.forEach(({ name }, index) => {
      const mib = (bytes: number): number => Math.round(bytes / 2 ** 20);
      const [was, is] = [before[index]!, after[index]!];
      found.memory.push({
        service: `${name}${index > 1 ? ' with keys' : ''}`,
        rssBefore: mib(was.rssBytes),
        rssAfter: mib(is.rssBytes),
        heapBefore: mib(was.heapBytes),
        heapAfter: mib(is.heapBytes),
      });
      const grown = is.heapBytes + is.externalBytes - was.heapBytes - was.externalBytes;
      if (grown > MAX_GROWTH_BYTES) faults.memory++;
    });
  }
  return found;
}

/** Services that hold calls whose callers have all gone. */
async function unforgotten(site: Site): Promise<string[]> {
  const late = performance.now() + FORGET_MS;
  const check = async (service: Service): Promise<string[]> => {
    while (service.isAlive) {
      const open = await service.openCalls();
      if (open === 0) return [];
      if (performance.now() > late) return [`the ${service.name} service holds ${open} calls of nobody`];
      await sleep(FORGET_STEP_MS);
    }
    return [];
  };
  return (await Promise.all(site.services.map(check))).flat();
}

/** The first line of a log that tells of a fault. */
function badLine(services: readonly Service[]): string | undefined {
  for (const service of services) {
    const line = service
      .takeLog()
      .split('\n')
      .find((each) => BAD_LINE.test(each));
    if (line !== undefined) return line.slice(0, 1_500);
  }
  return undefined;
}

/** The case of a batch that makes a service write such a line by itself; `undefined` where none does. */
async function blame(
  site: Site,
  sender: Sender,
  generator: Generator,
  start: number,
  end: number,
): Promise<number | undefined> {
  for (let from = start; from < end; from += 50) {
    const to = Math.min(from + 50, end);
    for (let index = from; index < to; index++) await sender.send(generator.make(index));
    await sender.canary();
    if (badLine(site.services) === undefined) continue;
    for (let index = from; index < to; index++) {
      await sender.send(generator.make(index));
      await sender.canary();
      if (badLine(site.services) !== undefined) return index;
    }
  }
  return undefined;
}

/** The smallest case that fails in the same way. */
async function shrink(
  generator: Generator,
  index: number,
  { fault, what }: Finding,
  sender: Sender,
): Promise<Case> {
  let current: Shrunk = generator.smaller(index);
  let tries = 0;
  const late = performance.now() + MAX_SHRINK_MS;
  // Each smaller one that hangs would take as long as this one.
  if (fault === 'hang') return current.one;
  for (let isSmaller = true; isSmaller;) {
    isSmaller = false;
    for (const next of current.smaller()) {
      if (++tries > MAX_SHRINKS || performance.now() > late) return current.one;
      const finding = judge(next.one, await sender.send(next.one));
      if (finding?.fault !== fault || finding.what.slice(0, 12) !== what.slice(0, 12)) continue;
      current = next;
      isSmaller = true;
      break;
    }
  }
  return current.one;
}
