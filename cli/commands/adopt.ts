import { Command, Option } from 'commander';
import { Adopter, type Examined, OWN_VECTOR, type VectorKind } from '../../store/qdrant/adopted/adopter.ts';
import { detectMapping, type MappingOverrides, withHeader } from '../../store/qdrant/adopted/detect.ts';
import { PayloadReader } from '../../store/qdrant/adopted/mapping.ts';
import type { ForeignPoint } from '../../store/qdrant/adopted/points.ts';
import { ADOPTION_KEY, type Measured } from '../../store/qdrant/adopted/record.ts';
import type { StoreKind } from '../stores.ts';
import { explain, verdictOf } from '../../towers/adopt/explain.ts';
import type { StoredText } from '../../towers/adopt/variants.ts';
import type { TowerManifest } from '../../towers/manifest.ts';
import { positive } from '../input/flags.ts';
import { interruptible } from '../interrupt.ts';
import { CliError, note, printJson, UsageError } from '../output/print.ts';
import { pullWithProgress } from '../pull-tower.ts';
import { qdrantPlace } from '../stores.ts';
import { explainInWords, findNearest, nearestPart, variantsOf } from '../adopt/nearest.ts';
import { type AdoptReport, explainedPart, renderReport } from '../adopt/report.ts';

interface Flags {
  documentTower?: string;
  as?: string;
  idField?: string;
  titleField?: string;
  textField?: string;
  metadataField?: string;
  vector?: string;
  candidates?: string[];
  sample: number;
  withoutSearch?: boolean;
  release?: boolean;
  dryRun?: boolean;
  store: StoreKind;
  qdrantUrl?: string;
  json?: boolean;
}

/** Texts of a sample: their median is known to a thousandth, and a small model encodes them in seconds. */
const SAMPLE_TEXTS = 256;

/** More tell nothing more. */
const MAX_SAMPLE = 2000;

/** A vector this near to unit length has it: some programs keep half precision. */
const UNIT_TOLERANCE = 0.01;

/** `scalingnote adopt COLLECTION` */
export const adopt = new Command('adopt')
  .description(
    'take over a Qdrant collection that others filled, to search it and distil from it; nothing in it is rewritten',
  )
  .argument(
    '<collection>',
    'its name in Qdrant; or a collection of ours, to let query towers of another space search it',
  )
  .option('--document-tower <reference>', 'the model that made its vectors, as for "towers pull"')
  .option('--as <name>', 'what clients call it (default: its own name)')
  .option('--id-field <path>', 'where the payload has the id of the document; "" for the id of the point')
  .option('--title-field <path>', 'where it has the title; "" for none')
  .option('--text-field <path>', 'where it has the text that was encoded')
  .option(
    '--metadata-field <path>',
    'where it has an object of metadata; "" for all keys that are nothing else',
  )
  .option('--vector <name>', 'name of the vectors, where it has several kinds')
  .option(
    '--candidates <references>',
    'towers to compare with where the vectors are not those of --document-tower, with commas between (default: all that were ' +
      'fetched and have the same dimensions)',
    (value: string) => value.split(',').filter((one) => one !== ''),
  )
  .option('--sample <n>', `stored texts to encode and compare, at most ${MAX_SAMPLE}`, positive, SAMPLE_TEXTS)
  .option(
    '--without-search',
    'adopt for distilling, exporting and copying alone, where its distance allows no search',
  )
  .option('--release', 'give an adopted collection back: remove what "adopt" wrote')
  .option('--dry-run', 'measure, and write nothing')
  .addOption(new Option('--store <store>', 'kind of store').choices(['embedded', 'qdrant']).default('qdrant'))
  .option('--qdrant-url <url>', 'REST address of Qdrant (default: QDRANT_URL)')
  .action(async (collection: string, flags: Flags) => {
    if (flags.store === 'embedded') {
      throw new UsageError(
        'only Qdrant has collections that others filled: --store embedded can’t be adopted from',
      );
    }
    const adopter = new Adopter({ kind: 'qdrant', ...qdrantPlace(flags) }, { warn: note });
    try {
      const examined = await adopter.examine(collection);
      if (flags.release === true) await release(adopter, examined, flags);
      else await take(adopter, examined, flags);
    } finally {
      await adopter.close();
    }
  });

async function release(adopter: Adopter, examined: Examined, flags: Flags): Promise<void> {
  if (flags.documentTower !== undefined) throw new UsageError('--release takes no --document-tower');
  if (examined.alias === undefined) throw new CliError(`collection "${examined.collection}" is not adopted`);
  const { aliases } = await adopter.release(examined);
  if (flags.json === true) printJson({ collection: examined.collection, released: true, aliases });
  else
    process.stdout.write(`${examined.collection} is as before; removed the aliases ${aliases.join(', ')}\n`);
}

async function take(adopter: Adopter, examined: Examined, flags: Flags): Promise<void> {
  const { documentTower } = flags;
  if (documentTower === undefined)
    throw new UsageError('name the model that made the vectors: --document-tower');
  if (flags.sample > MAX_SAMPLE)
    throw new UsageError(`--sample is ${flags.sample}; use at most ${MAX_SAMPLE}`);
  if (examined.own) refuseMapping(flags);
  const began = performance.now();
  const { directory, manifest } = await pullWithProgress(documentTower);
  if (manifest.role !== 'document') {
    throw new UsageError(
      `${documentTower} is a ${manifest.role} tower; --document-tower takes a document tower`,
    );
  }
  await interruptible('nothing was written', async (signal) => {
    const vector = examined.own ? ownVector(examined) : chooseVector(examined, manifest, flags);
    checkDimensions(examined, vector, manifest);
    if (!examined.own) await adopter.checkName(examined, manifest.space.fingerprint, flags.as, { signal });
    const points = await adopter.sample(examined, vector.name, flags.sample, { signal });
    if (points.length === 0) {
      const which = vector.name === '' ? 'a vector' : `a vector "${vector.name}"`;
      throw new CliError(
        `collection "${examined.collection}" has no point with ${which}, so there is nothing to compare; adopt it when it has some`,
      );
    }
    const { texts, ...shape } = readSample(examined, points, flags);
    if (texts.length === 0) {
      throw new CliError(
        `collection "${examined.collection}" has no point with a vector and a text to compare`,
      );
    }
    note(`comparing ${texts.length} stored texts with what ${manifest.name} makes of them`);
    const explained = await explain(variantsOf(documentTower), texts, { signal });
    const verdict = verdictOf(explained);
    const unitLength = points.every((point) => isUnit(point.vector!));
    const search = vector.distance === 'Cosine' || (vector.distance !== 'Manhattan' && unitLength);
    const nearest =
      verdict === 'other'
        ? await findNearest(documentTower, manifest, texts, flags.candidates, signal)
        : undefined;
    const { name, space } = manifest;
    const report: AdoptReport = {
      collection: examined.collection,
      points: examined.points,
      vector: vector.name,
      dimensions: vector.dimensions,
      distance: vector.distance,
      unitLength,
      ...shape,
      tower: name,
      space: space.fingerprint,
      verdict,
      search,
      ...explainedPart(explained),
      ...(nearest && { nearest: nearestPart(nearest) }),
      why: await explainInWords({ directory, explained, nearest, documentTower, vector: vector.name }),
      written: [],
      seconds: 0,
    };
    const seconds = (): number => (performance.now() - began) / 1000;
    const refusal = refusalOf(report, flags);
    if (refusal !== undefined) {
      print({ ...report, why: refusal, seconds: seconds() }, flags);
      throw new CliError(refusal);
    }
    const done = flags.dryRun === true ? report : await write(adopter, examined, report, manifest, flags);
    print({ ...done, seconds: seconds() }, flags);
  });
}

async function write(
  adopter: Adopter,
  examined: Examined,
  report: AdoptReport,
  { name: tower, space }: TowerManifest,
  flags: Flags,
): Promise<AdoptReport> {
  const { texts, median, percentile5, below95 } = report.own.cosines;
  const measured: Measured = { tower, texts, median, percentile5, below95, at: new Date().toISOString() };
  if (examined.own) {
    if (examined.own.fingerprint === space.fingerprint) return report;
    await adopter.admit(examined, space.fingerprint, measured);
    return { ...report, written: [`"admitted" in the metadata of ${examined.collection}`] };
  }
  const { vector, dimensions, distance, search, mapping } = report;
  const record = {
    fingerprint: space.fingerprint,
    dimensions,
    vector,
    distance,
    search,
    mapping: mapping!,
    measured,
  };
  const { name, physicalName } = await adopter.adopt(examined, record, flags.as);
  const aliases = name === examined.collection ? physicalName : `${name} and ${physicalName}`;
  return {
    ...report,
    name,
    physicalName,
    written: [`"${ADOPTION_KEY}" in the metadata of ${examined.collection}`, `the alias ${aliases}`],
  };
}

/** Why the collection is not adopted; `undefined` where it may be. */
function refusalOf(report: AdoptReport, flags: Flags): string | undefined {
  if (report.verdict !== 'same') return report.why;
  if (report.search || flags.withoutSearch === true) return undefined;
  const { collection, distance } = report;
  const why =
    distance === 'Manhattan'
      ? 'ranks otherwise than the cosine'
      : 'ranks otherwise than the cosine where vectors are not of unit length, as these';
  return (
    `the vectors of "${collection}" are the tower’s, but its distance, ${distance}, ${why}, so a search would mean something ` +
    'else; adopt it with --without-search to distil from it, and to move it with "scalingnote copy" to where it can be searched'
  );
}

/** Vectors of a collection of ours. */
function ownVector({ vectors }: Examined): VectorKind {
  const own = vectors.find(({ name }) => name === OWN_VECTOR);
  if (own) return own;
  throw new CliError('the collection has no dense vectors');
}

function refuseMapping(flags: Flags): void {
  const given = (
    ['as', 'idField', 'titleField', 'textField', 'metadataField', 'vector', 'withoutSearch'] as const
  ).find((name) => flags[name] !== undefined);
  if (given === undefined) return;
  const flag = given.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  throw new UsageError(`--${flag} is for collections that others made, and this one is ours`);
}

function chooseVector(
  { collection, vectors, sparse }: Examined,
  manifest: TowerManifest,
  flags: Flags,
): VectorKind {
  const shown = vectors
    .map(({ name, dimensions }) => `${name === '' ? '(no name)' : name}: ${dimensions}`)
    .join(', ');
  if (vectors.length === 0) {
    const instead = sparse.length > 0 ? `, but sparse ones (${sparse.join(', ')}), which no tower makes` : '';
    throw new CliError(`collection "${collection}" has no dense vectors${instead}`);
  }
  const named = flags.vector === undefined ? undefined : vectors.find(({ name }) => name === flags.vector);
  if (flags.vector !== undefined && !named) {
    throw new UsageError(`--vector ${flags.vector}: collection "${collection}" has ${shown}`);
  }
  const fitting = vectors.filter(({ dimensions, several }) => dimensions === manifest.dimensions && !several);
  const chosen =
    named ?? (vectors.length === 1 ? vectors[0]! : fitting.length === 1 ? fitting[0]! : undefined);
  if (!chosen) {
    throw new UsageError(
      `collection "${collection}" has several kinds of vectors (${shown}), and ${fitting.length} of them fit the tower’s ` +
        `${manifest.dimensions} dimensions; name one with --vector`,
    );
  }
  if (chosen.several) {
    const name = chosen.name === '' ? '' : ` "${chosen.name}"`;
    throw new CliError(
      `the vectors${name} of collection "${collection}" are multivectors, several for each point, as late interaction makes ` +
        'them; only collections with one dense vector for each point can be adopted',
    );
  }
  return chosen;
}

function checkDimensions(
  { collection }: Examined,
  { dimensions }: VectorKind,
  manifest: TowerManifest,
): void {
  if (dimensions === manifest.dimensions) return;
  throw new CliError(
    `collection "${collection}" has vectors of ${dimensions} dimensions, and ${manifest.name} makes vectors of ` +
      `${manifest.dimensions}: it is another model, or its vectors were cut; name the tower that made them`,
  );
}

/** Stored texts with their vectors, and where they were in the payloads. */
function readSample(
  { own }: Examined,
  points: readonly ForeignPoint[],
  flags: Flags,
): { texts: StoredText[] } & Pick<AdoptReport, 'mapping' | 'writer'> {
  if (own) return { texts: points.flatMap(ownText) };
  const given: MappingOverrides = {
    ...(flags.idField !== undefined && { id: flags.idField }),
    ...(flags.titleField !== undefined && { title: flags.titleField }),
    ...(flags.textField !== undefined && { text: flags.textField }),
    ...(flags.metadataField !== undefined && { metadata: flags.metadataField }),
  };
  const { writer, mapping } = detectMapping(
    points.map(({ payload }) => payload),
    given,
  );
  const reader = new PayloadReader(mapping);
  const texts = points.flatMap(({ payload, vector }): StoredText[] => {
    const text = reader.text(payload);
    if (text === undefined || text.trim() === '' || !vector) return [];
    const composed = withHeader(payload);
    return [{ title: reader.title(payload), text, vector, ...(composed !== undefined && { composed }) }];
  });
  return { texts, writer, mapping };
}

/** A passage of ours: the title goes before the first one. */
function ownText({ payload, vector }: ForeignPoint): StoredText[] {
  const { text, title, passage } = payload;
  if (typeof text !== 'string' || text === '' || !vector) return [];
  return [{ title: passage === 0 && typeof title === 'string' ? title : '', text, vector }];
}

function isUnit(vector: Float32Array): boolean {
  const norm = Math.sqrt(vector.reduce((sum, component) => sum + component * component, 0));
  return Math.abs(norm - 1) <= UNIT_TOLERANCE;
}

function print(report: AdoptReport, flags: Flags): void {
  if (flags.json === true) {
    printJson(report);
    return;
  }
  const { name } = report;
  const next =
    name === undefined
      ? flags.dryRun === true && report.verdict === 'same'
        ? ['nothing was written (--dry-run)']
        : []
      : [
          `"${name}" is adopted: read only, dense only${report.search ? '' : ', without search'}; it can be distilled from, ` +
            'listed, exported and copied',
          ...(report.search ? [`next: npx scalingnote search TEXT --collection ${name}`] : []),
        ];
  process.stdout.write(`${[renderReport(report), ...next].join('\n')}\n`);
}
