import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { campaign } from './campaign.ts';
import { readCase } from './case.ts';
import { floodCosts } from './flood-costs.ts';
import { Generator, KINDS } from './generate.ts';
import { judge } from './judge.ts';
import { Sender } from './sender.ts';
import { Site } from './site.ts';

/**
 * `npm run fuzz -- [--cases N] [--seed S] [--from INDEX] [--part structured|raw] [--kind NAME]... [--json]`: hunts both
 * services with N cases. One case again, alone: its seed, `--from` its index, `--cases 1`, and the same `--part` and
 * `--kind`. Cases that were kept, a line each: `--again FILE [--times N]`, all of them at once.
 * What floods of so many frames cost: `--floods 10000`.
 */
const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '2000' },
    seed: { type: 'string', default: String(1 + Math.floor(Math.random() * 1e6)) },
    from: { type: 'string', default: '0' },
    part: { type: 'string' },
    kind: { type: 'string', multiple: true, default: [] },
    again: { type: 'string' },
    floods: { type: 'string' },
    times: { type: 'string', default: '1' },
    json: { type: 'boolean', default: false },
  },
});
const cases = whole('cases', values.cases);
const seed = whole('seed', values.seed);
const from = whole('from', values.from);
const { part } = values;
const names = values.kind;
const unknown = names.find((name) => !KINDS.some((kind) => kind.name === name));
if (unknown !== undefined)
  fail(`there is no kind "${unknown}"; there are ${KINDS.map(({ name }) => name).join(', ')}`);
if (part !== undefined && part !== 'structured' && part !== 'raw') {
  fail(`--part is "${part}"; give structured or raw, or leave it out for both`);
}
const kinds = KINDS.filter(
  (kind) => (names.length === 0 || names.includes(kind.name)) && (part === undefined || kind.part === part),
);

const site = await Site.start();
try {
  if (values.floods !== undefined) console.table(await floodCosts(site, whole('floods', values.floods)));
  else if (values.again === undefined) await hunt();
  else await again(values.again, whole('times', values.times));
} finally {
  await site.stop();
}

/** Sends cases of a file, each so many times. */
async function again(file: string, times: number): Promise<void> {
  const sender = new Sender(site);
  await sender.fill();
  const kept = readFileSync(file, 'utf8').trim().split('\n');
  const all = Array.from({ length: times }, () => kept.map((line) => readCase(line, site.ground.key))).flat();
  const statuses: Record<string, number> = {};
  await Promise.all(
    all.map(async (one) => {
      const outcome = await sender.send(one);
      const finding = judge(one, outcome);
      const told = outcome.statuses.join(' ') + (finding ? `, ${finding.fault}: ${finding.what}` : '');
      statuses[told] = (statuses[told] ?? 0) + 1;
      if (finding) process.exitCode = 1;
    }),
  );
  sender.close();
  console.log(JSON.stringify(statuses, undefined, 2));
  for (const service of site.services) process.stdout.write(service.takeLog());
}

async function hunt(): Promise<void> {
  const generator = new Generator(site.ground, seed, kinds);
  const found = await campaign(site, generator, {
    from,
    cases,
    onBatch: (done) => {
      if (!values.json) console.log(`${done} of ${cases}`);
    },
    onFinding: (index, { fault, what }) =>
      console.error(`case ${index}, ${fault}: ${what}; looking for a smaller one`),
  });
  const { failures, ...counts } = found;
  const perSecond = Math.round(found.cases / found.seconds);
  const ordered = Object.fromEntries(
    Object.entries(counts.statuses).sort(([, one], [, other]) => other - one),
  );
  const summary = { seed, from, ...counts, perSecond, statuses: ordered, failures };
  if (values.json) console.log(JSON.stringify(summary, undefined, 2));
  else {
    console.log(`${found.cases} cases in ${found.seconds} s (${perSecond}/s), seed ${seed}`);
    console.log(
      Object.entries(found.faults)
        .map(([fault, count]) => `${fault} ${count}`)
        .join(', '),
    );
  }
  const same = [
    part === undefined ? '' : ` --part ${part}`,
    ...names.map((name) => ` --kind '${name}'`),
  ].join('');
  for (const { index, kind, fault, what, smallest } of failures) {
    console.error(`${kind}, ${fault}: ${what}`);
    console.error(`  npm run fuzz -- --seed ${seed} --from ${index} --cases 1${same}`);
    console.error(`  ${smallest.length > 4_000 ? `${smallest.slice(0, 4_000)}…` : smallest}`);
  }
  const isWell = Object.values(found.faults).every((count) => count === 0);
  process.exitCode = isWell ? 0 : 1;
}

function whole(flag: string, text: string): number {
  if (!/^(0|[1-9]\d{0,8})$/.test(text)) fail(`--${flag} is "${text}"; give a whole number`);
  return Number(text);
}

function fail(message: string): never {
  console.error(message);
  process.exit(2);
}
