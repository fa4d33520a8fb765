import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { writeTinyTower } from '../../towers/testing/tiny-tower.ts';
import { addKey, type Service, startPair } from '../fuzz/site.ts';
import { Load } from './load.ts';
import type { Held } from './probe.ts';
import { type Slope, slopeOf } from './slope.ts';

/**
 * `npm run soak -- [--minutes N] [--pace N] [--json]`: a pair of services under everything that callers do, and whether
 * what it holds grows. `--pace 1` is the ordinary load, some forty calls a second, and `--pace 4` a quarter of it. The default is four
 * times the ordinary one: ten minutes of that fill what fills, so that the rest can be judged.
 */
const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    pace: { type: 'string', default: '0.25' },
    json: { type: 'boolean', default: false },
  },
});
const minutes = positive('minutes', values.minutes);
const pace = positive('pace', values.pace);

/** Points of a series, without those of the time in which caches fill. */
const POINTS = 80;
/**
 * The time that is not judged, in which caches fill and code is compiled: a share, and so many minutes at least where that
 * leaves a quarter. The garbage collector takes its time to give an isolate the heap that this load needs.
 */
const WARM_UP = 0.3;
const WARM_UP_MINUTES = 7.5;
const LONGEST_WARM_UP = 0.75;
const warmUp = Math.min(LONGEST_WARM_UP, Math.max(WARM_UP, WARM_UP_MINUTES / minutes));

/**
 * Vectors of queries that are kept: few, so that the cache is full before the time that is judged. The default of 10 000 takes
 * 35 MB outside the heap, and seven minutes of this load.
 */
const CACHED_QUERIES = 500;

/**
 * What is measured, and what of it is noise over a whole run: as far as it wanders within one where nothing is kept. The heap
 * comes back to within a megabyte of where it was. Resident memory also has what V8 and the allocator keep for later, a
 * twentieth of the 300 MB of a service.
 */
const MEASURES: Readonly<Record<keyof Held, { unit: string; least: number }>> = {
  heapBytes: { unit: 'bytes', least: 1 << 20 },
  externalBytes: { unit: 'bytes', least: 512 * 1024 },
  rssBytes: { unit: 'bytes', least: 16 << 20 },
  handles: { unit: 'handles', least: 2 },
  fileDescriptors: { unit: 'descriptors', least: 2 },
  delayMs: { unit: 'ms', least: 20 },
};
const FILES = { unit: 'bytes', least: 2 << 20 };

interface Series {
  what: string;
  unit: string;
  least: number;
  values: number[];
}

const folder = mkdtempSync(join(tmpdir(), 'scalingnote-soak-'));
writeTinyTower(join(folder, 'document-tower'));
writeTinyTower(join(folder, 'query-tower'), { role: 'query' });
const keyFile = join(folder, 'keys.json');
const key = await addKey(keyFile);
const queryFlags = ['--query-cache', String(CACHED_QUERIES)];
const pair = await startPair(folder, 'data', keyFile, { queryFlags });
const services: readonly Service[] = [pair.query, pair.document];
const load = new Load(pair, key, pace);
const running = load.run();

/** What holds this process up holds the services up as well, and is the machine's. */
const machine = monitorEventLoopDelay({ resolution: 5 });
machine.enable();
const seconds: number[] = [];
const series = new Map<string, Series>();
const started = performance.now();
const totalMs = minutes * 60_000;
await sleep(totalMs * warmUp);
for (let point = 0; point <= POINTS; point++) {
  const due = totalMs * (warmUp + ((1 - warmUp) * point) / POINTS);
  await sleep(Math.max(0, due - (performance.now() - started)));
  seconds.push((performance.now() - started) / 1000);
  const machineMs = machine.max / 1e6;
  for (const service of services) {
    const held = await service.held();
    held.delayMs = Math.max(0, held.delayMs - machineMs);
    for (const [name, { unit, least }] of Object.entries(MEASURES)) {
      add(`${service.name} ${name}`, held[name as keyof Held], unit, least);
    }
  }
  machine.reset();
  for (const [name, bytes] of Object.entries(sizesOf(pair.data)))
    add(`files ${name}`, bytes, FILES.unit, FILES.least);
}
load.stop();
await running;
load.close();
const logs = services.map((service) => service.takeLog()).join('');
const codes = await Promise.all(services.map((service) => service.stop()));
rmSync(folder, { recursive: true, force: true });

function add(what: string, value: number, unit: string, least: number): void {
  const one = series.get(what) ?? { what, unit, least, values: [] };
  series.set(what, one);
  one.values.push(value);
}

const slopes: (Slope & { what: string; unit: string; first: number; last: number; points: number[] })[] = [
  ...series.values(),
].map(({ what, unit, least, values: points }) => ({
  what,
  unit,
  first: points[0]!,
  last: points.at(-1)!,
  points,
  ...slopeOf(seconds.slice(-points.length), points, least),
}));
const leaks = slopes.filter(({ isNoise }) => !isNoise).map(({ what }) => what);
const badLines = logs.split('\n').filter((line) => /"level":"(error|fatal)"|Warning:/.test(line));
const failures = Object.keys(load.failed).length;
const result = { minutes, pace, done: load.done, failed: load.failed, codes, badLines, slopes, leaks };
if (values.json) console.log(JSON.stringify(result, undefined, 2));
else {
  console.log(
    Object.entries(load.done)
      .map(([name, count]) => `${name} ${count}`)
      .join(', '),
  );
  for (const { what, unit, first, last, perHour, low, high, isNoise } of slopes) {
    const between = `${low.toPrecision(3)} to ${high.toPrecision(3)}`;
    const verdict = isNoise ? 'within noise' : 'GROWS';
    console.log(
      `${what}: ${first} to ${last} ${unit}, ${perHour.toPrecision(3)} an hour (${between}): ${verdict}`,
    );
  }
}
for (const [message, count] of Object.entries(load.failed))
  console.error(`failed ${count} times: ${message}`);
for (const line of badLines.slice(0, 5)) console.error(line.slice(0, 500));
process.exitCode =
  leaks.length > 0 || failures > 0 || badLines.length > 0 || codes.some((code) => code !== 0) ? 1 : 0;

/** Bytes of the store's files, by the end of their names. */
function sizesOf(path: string): Record<string, number> {
  const sizes: Record<string, number> = { database: 0, 'write-ahead log': 0, others: 0 };
  for (const entry of readdirSync(path, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const kind = entry.name.endsWith('-wal')
      ? 'write-ahead log'
      : /\.(db|sqlite3?)$/.test(entry.name)
        ? 'database'
        : 'others';
    try {
      sizes[kind]! += statSync(join(entry.parentPath, entry.name)).size;
    } catch {
      // It is gone: what is temporary comes and goes.
    }
  }
  return sizes;
}

function positive(flag: string, text: string): number {
  if (/^\d{1,4}(\.\d{1,3})?$/.test(text) && Number(text) > 0) return Number(text);
  console.error(`--${flag} is "${text}"; give a number above 0`);
  return process.exit(2);
}
