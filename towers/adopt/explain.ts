import type { TowerManifest } from '../manifest.ts';
import { type Pooling, REMOTE_POOLING } from '../space.ts';
import type { Tokens, Tower } from '../tower.ts';
import { compare, type Cosines, isClearlyBetter, passes } from './cosines.ts';
import {
  inputOf,
  isOwn,
  type Layout,
  layoutsFor,
  lengthsFor,
  otherPoolings,
  type Prompt,
  promptsFor,
  type StoredText,
  type Variant,
} from './variants.ts';

/** What explaining needs of a tower. */
export type ExplainingTower = Pick<Tower, 'manifest' | 'tokenize' | 'encodeAll' | 'close'>;

/** Settings of a tower that are not its manifest's. */
interface Settings {
  pooling?: Pooling;
  maxTokens?: number;
}

/** Opens a tower with other settings than its manifest's. */
export type OpenVariant = (settings: Settings) => Promise<ExplainingTower>;

/** A variant, and how well it explains the stored vectors. */
export interface Explanation {
  variant: Variant;
  cosines: Cosines;
}

/** How a tower explains stored vectors. */
export interface Explained {
  manifest: TowerManifest;
  /** The tower as it is, with the best layout of the texts. */
  own: Explanation;
  /** The best of all; the same as `own` where no variant is clearly better. */
  best: Explanation;
  /** Every variant that was tried on a few texts, best first. */
  tried: readonly Explanation[];
}

/** What came of it. */
export type Verdict =
  /** The vectors are the tower's. */
  | 'same'
  /** They are those of the tower with other settings. */
  | 'variant'
  /** They are not. */
  | 'other';

export interface ExplainOptions {
  signal?: AbortSignal | undefined;
  /** How long the texts of the last step may take, in milliseconds; after that the rest of them are left out. */
  budgetMs?: number;
  /** Whether to try a few texts alone, for a comparison of towers. @default false */
  probeOnly?: boolean;
}

/** Texts that every variant is tried on: enough to tell variants apart, and short, because there are dozens. */
const PROBE_TEXTS = 16;

/** Characters that a text of the probe has at least: very short ones are alike under all prompts. */
const PROBE_CHARACTERS = 24;

/** A median from which on no other pooling can be the explanation. */
const NEAR = 0.97;

/** Texts that are encoded at once in the last step; between them the clock is looked at. */
const CHUNK_TEXTS = 32;

const BUDGET_MS = 25_000;

/**
 * Finds out how a tower may have made stored vectors: as it is, or with another prompt, another pooling, another length.
 *
 * @param texts in any order, each with a vector of the tower's dimensions
 */
export async function explain(
  open: OpenVariant,
  texts: readonly StoredText[],
  options: ExplainOptions = {},
): Promise<Explained> {
  const tower = await open({});
  const { manifest } = tower;
  const tried: Explanation[] = [];
  try {
    const probe = probeOf(texts);
    const layouts = layoutsFor(probe);
    const { pooling: ownPooling, maxTokens } = manifest;
    const tryAll = async (
      one: ExplainingTower,
      pooling: Variant['pooling'],
      prompts: readonly Prompt[],
    ): Promise<void> => {
      for (const prompt of prompts) {
        for (const layout of layouts) {
          options.signal?.throwIfAborted();
          const cosines = await measure(one, probe, { prompt, layout }, options);
          tried.push({ variant: { prompt, layout, pooling, maxTokens }, cosines });
        }
      }
    };
    await tryAll(tower, ownPooling, promptsFor(manifest));
    for (const pooling of otherPoolings(manifest)) {
      if (best(tried).cosines.median >= NEAR) break;
      const other = await open({ pooling });
      try {
        await tryAll(other, pooling, promptsFor(manifest));
      } finally {
        await other.close();
      }
    }
    tried.sort((a, b) => b.cosines.median - a.cosines.median);
    const ownTry = best(tried.filter(({ variant }) => isOwn(variant, manifest)));
    const bestTry = isClearlyBetter(tried[0]!.cosines, ownTry.cosines) ? tried[0]! : ownTry;
    if (options.probeOnly === true) return { manifest, own: ownTry, best: bestTry, tried };

    const own = await whole(tower, open, texts, ownTry.variant, options);
    let top = own;
    if (bestTry !== ownTry) {
      const other = await whole(tower, open, texts, bestTry.variant, options);
      if (isClearlyBetter(other.cosines, own.cosines)) top = other;
    }
    const longer = passes(top.cosines) ? undefined : await otherLength(open, tower, texts, top, options);
    if (longer && isClearlyBetter(longer.cosines, top.cosines)) top = longer;
    return { manifest, own, best: top, tried };
  } finally {
    await tower.close();
  }
}

/** What an explanation means for a collection. */
export function verdictOf({ manifest, own, best: top }: Explained): Verdict {
  const isVariant = !isOwn(top.variant, manifest);
  if (isVariant && passes(top.cosines)) return 'variant';
  return passes(own.cosines) ? 'same' : 'other';
}

/** Encodes texts in one way, and compares. */
async function measure(
  tower: ExplainingTower,
  texts: readonly StoredText[],
  { prompt, layout }: { prompt: Prompt; layout: Layout },
  { signal }: ExplainOptions,
): Promise<Cosines> {
  const tokens = await tokensOf(tower, texts, prompt, layout);
  const rows = await tower.encodeAll(tokens, { signal });
  return compare(
    rows,
    texts.map(({ vector }) => vector),
    tower.manifest.dimensions,
  );
}

/** A variant on all texts, or on as many as there is time for. */
async function whole(
  own: ExplainingTower,
  open: OpenVariant,
  texts: readonly StoredText[],
  variant: Variant,
  options: ExplainOptions,
): Promise<Explanation> {
  const { pooling, maxTokens, prompt, layout } = variant;
  const isAsOpened = pooling === own.manifest.pooling && maxTokens === own.manifest.maxTokens;
  const tower = isAsOpened ? own : await open(settingsOf(pooling, maxTokens));
  try {
    const giveUpAt = performance.now() + (options.budgetMs ?? BUDGET_MS);
    const { dimensions } = tower.manifest;
    const rows = new Float32Array(texts.length * dimensions);
    let done = 0;
    while (done < texts.length && (done === 0 || performance.now() < giveUpAt)) {
      options.signal?.throwIfAborted();
      const chunk = texts.slice(done, done + CHUNK_TEXTS);
      const tokens = await tokensOf(tower, chunk, prompt, layout);
      rows.set(await tower.encodeAll(tokens, { signal: options.signal }), done * dimensions);
      done += chunk.length;
    }
    const stored = texts.slice(0, done).map(({ vector }) => vector);
    return { variant, cosines: compare(rows.subarray(0, done * dimensions), stored, dimensions) };
  } finally {
    if (!isAsOpened) await tower.close();
  }
}

/** The same variant with another length, where long texts are what it does not explain; `undefined` where they are not. */
async function otherLength(
  open: OpenVariant,
  own: ExplainingTower,
  texts: readonly StoredText[],
  top: Explanation,
  options: ExplainOptions,
): Promise<Explanation | undefined> {
  const { prompt, layout, pooling } = top.variant;
  const long: StoredText[] = [];
  for (const text of texts) {
    const { ids, truncated } = await own.tokenize(inputOf(text, layout), { prompt: prompt.text });
    if (truncated || ids.length > SHORTEST_LENGTH) long.push(text);
    if (long.length === PROBE_TEXTS) break;
  }
  if (long.length === 0) return undefined;
  let found: Explanation | undefined;
  for (const maxTokens of lengthsFor(own.manifest)) {
    const tower = await open(settingsOf(pooling, maxTokens)).catch(() => undefined);
    if (!tower) continue;
    try {
      // A graph with fewer positions fails on texts that are longer.
      const cosines = await measure(tower, long, { prompt, layout }, options).catch(() => undefined);
      if (!cosines || (found && cosines.median <= found.cosines.median)) continue;
      found = { variant: { ...top.variant, maxTokens }, cosines };
    } finally {
      await tower.close();
    }
  }
  return found && whole(own, open, texts, found.variant, options);
}

/** Texts that are shorter fit into every length. */
const SHORTEST_LENGTH = 128;

function tokensOf(
  tower: ExplainingTower,
  texts: readonly StoredText[],
  prompt: Prompt,
  layout: Layout,
): Promise<Tokens[]> {
  return Promise.all(
    texts.map(async (text) => tower.tokenize(inputOf(text, layout), { prompt: prompt.text })),
  );
}

function best(explanations: readonly Explanation[]): Explanation {
  return explanations.reduce((a, b) => (b.cosines.median > a.cosines.median ? b : a));
}

/** The shortest texts that are not too short. */
function probeOf(texts: readonly StoredText[]): StoredText[] {
  const byLength = [...texts].sort((a, b) => a.text.length - b.text.length);
  const enough = byLength.filter(({ text }) => text.length >= PROBE_CHARACTERS);
  return (enough.length >= PROBE_TEXTS ? enough : byLength.reverse()).slice(0, PROBE_TEXTS);
}

function settingsOf(pooling: Variant['pooling'], maxTokens: number): Settings {
  return pooling === REMOTE_POOLING ? {} : { pooling, maxTokens };
}
