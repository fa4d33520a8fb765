import { passes } from '../../towers/adopt/cosines.ts';
import {
  explain,
  type Explained,
  type OpenVariant,
  type Verdict,
  verdictOf,
} from '../../towers/adopt/explain.ts';
import { type Precision, precisionOf } from '../../towers/adopt/precision.ts';
import type { StoredText } from '../../towers/adopt/variants.ts';
import { listTowers } from '../../towers/catalog.ts';
import { readManifest } from '../../towers/directory.ts';
import type { TowerManifest } from '../../towers/manifest.ts';
import { openTower } from '../../towers/open.ts';
import { note } from '../output/print.ts';
import { pullWithProgress } from '../pull-tower.ts';
import { type AdoptReport, describeVariant, percent } from './report.ts';

/** Where one model's exports at different precisions are, on each other. */
const LEAST_SIBLING = 0.9;

export function variantsOf(reference: string): OpenVariant {
  return (settings) => openTower(reference, settings);
}

/** A tower that was compared. */
export interface Candidate {
  reference: string;
  directory: string;
  manifest: TowerManifest;
  explained: Explained;
}

/** The tower, among others of the same dimensions, that explains the vectors best. */
export async function findNearest(
  documentTower: string,
  { space, dimensions }: TowerManifest,
  texts: readonly StoredText[],
  candidates: readonly string[] | undefined,
  signal: AbortSignal,
): Promise<Candidate | undefined> {
  const others: Omit<Candidate, 'explained'>[] = [];
  for (const reference of candidates ?? (await fetchedTowers())) {
    const { directory, manifest } = candidates
      ? await pullWithProgress(reference)
      : {
          directory: reference.slice('file:'.length),
          manifest: await readManifest(reference.slice('file:'.length)),
        };
    if (manifest.space.fingerprint === space.fingerprint || reference === documentTower) continue;
    if (manifest.dimensions === dimensions) others.push({ reference, directory, manifest });
    else if (candidates)
      note(`${reference} has ${manifest.dimensions} dimensions; it made none of these vectors`);
  }
  let nearest: Candidate | undefined;
  for (const other of others) {
    note(`comparing with ${other.manifest.name}`);
    // A wrong model is far away whatever its settings are.
    const explained = await explain(variantsOf(other.reference), texts, { signal, probeOnly: true });
    const better = !nearest || explained.best.cosines.median > nearest.explained.best.cosines.median;
    if (better) nearest = { ...other, explained };
  }
  return (
    nearest && { ...nearest, explained: await explain(variantsOf(nearest.reference), texts, { signal }) }
  );
}

/** Document towers on this machine. */
async function fetchedTowers(): Promise<string[]> {
  const towers = await listTowers();
  return towers.flatMap(({ role, directory }) =>
    role === 'document' && directory !== undefined ? [`file:${directory}`] : [],
  );
}

export function nearestPart({
  reference,
  manifest,
  explained,
}: Candidate): NonNullable<AdoptReport['nearest']> {
  return {
    tower: reference,
    space: manifest.space.fingerprint,
    verdict: verdictOf(explained),
    best: explained.best,
  };
}

export async function explainInWords(found: {
  directory: string;
  explained: Explained;
  nearest: Candidate | undefined;
  documentTower: string;
  vector: string;
}): Promise<string> {
  const { explained, nearest, documentTower, directory } = found;
  const { manifest, own, best } = explained;
  const { median, below95 } = own.cosines;
  const numbers = `median cosine ${median.toFixed(4)}, ${percent(below95)} below 0.95`;
  const verdict: Verdict = verdictOf(explained);
  if (verdict === 'same') return `the vectors are those of ${manifest.name}: ${numbers}`;
  if (verdict === 'variant') {
    return (
      `the vectors are those of ${manifest.name} with other settings: ${describeVariant(best.variant)} (median cosine ` +
      `${best.cosines.median.toFixed(4)}, as it is ${median.toFixed(4)}); import the model that way and adopt with it: ` +
      `scalingnote towers import FOLDER ${importFlags(best, manifest)} --out DIR, then --document-tower file:DIR`
    );
  }
  const not = `the vectors are not those of ${manifest.name}: ${numbers}`;
  const isSibling = nearest && verdictOf(nearest.explained) !== 'other';
  if (isSibling) {
    const nearestVerdict = verdictOf(nearest.explained);
    const use =
      nearestVerdict === 'same'
        ? `adopt with --document-tower ${nearest.reference}`
        : `with ${describeVariant(nearest.explained.best.variant)}`;
    const share = `median cosine ${nearest.explained.best.cosines.median.toFixed(4)}`;
    // Vectors of two models have nothing to do with each other.
    if (best.cosines.median >= LEAST_SIBLING) {
      const [mine, theirs] = await Promise.all([precisionOf(directory), precisionOf(nearest.directory)]);
      const how = mine === theirs ? 'another version of it' : 'the same model at another precision';
      return (
        `${not}; they are those of ${nearest.manifest.name} (${share}), which is ${how}: its weights are in ${theirs}, those ` +
        `of ${documentTower} in ${mine}; ${use}`
      );
    }
    return `${not}; they are those of ${nearest.manifest.name} (${share}): ${use}`;
  }
  const mine: Precision = await precisionOf(directory);
  const isNear = best.cosines.median >= LEAST_SIBLING && !passes(best.cosines);
  const likely = isNear
    ? `; that near, it is likely the same model at another precision or another version (its weights here are in ${mine}): ` +
      'fetch the export that made the vectors, and adopt with that'
    : '; name the tower that made them, or towers to compare with (--candidates)';
  const near = nearest
    ? `, and nearest, of what is here, is ${nearest.manifest.name} with a median of ` +
      nearest.explained.best.cosines.median.toFixed(4)
    : '';
  return not + near + likely;
}

function importFlags({ variant }: Explained['best'], manifest: TowerManifest): string {
  return [
    ...(variant.prompt.text === manifest.prompt
      ? []
      : [`--document-prompt ${JSON.stringify(variant.prompt.text)}`]),
    ...(variant.pooling === manifest.pooling ? [] : [`--pooling ${[variant.pooling].flat().join(',')}`]),
    ...(variant.maxTokens === manifest.maxTokens ? [] : [`--max-tokens ${variant.maxTokens}`]),
  ].join(' ');
}
