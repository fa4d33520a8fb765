import type { TowerManifest } from '../manifest.ts';
import { type Pooling, REMOTE_POOLING } from '../space.ts';

/** A text that is stored with its vector. */
export interface StoredText {
  title: string;
  text: string;
  /** The text with what a program puts before it when it encodes it, such as its metadata; absent for none. */
  composed?: string;
  vector: Float32Array;
}

/** What was encoded of a stored text. */
export type Layout = 'text' | 'title and text' | 'metadata and text';

/** Text before the input, and where it comes from. */
export interface Prompt {
  name: string;
  text: string;
}

/** A way in which a tower may have made the stored vectors. */
export interface Variant {
  prompt: Prompt;
  layout: Layout;
  pooling: TowerManifest['pooling'];
  maxTokens: number;
}

/** Prompts that models were trained with, which their files often do not state. */
const KNOWN_PROMPTS: readonly Prompt[] = [
  { name: 'E5’s for passages', text: 'passage: ' },
  { name: 'E5’s for queries', text: 'query: ' },
  { name: 'BGE’s for queries', text: 'Represent this sentence for searching relevant passages: ' },
  { name: 'Nomic’s for documents', text: 'search_document: ' },
  { name: 'Nomic’s for queries', text: 'search_query: ' },
];

const POOLINGS: readonly Pooling[] = ['mean', 'cls', 'last'];

/** Lengths that programs cut texts to. */
const LENGTHS: readonly number[] = [128, 256, 384, 512, 1024, 2048, 8192];

/** The tower's own prompt first; each text once. */
export function promptsFor({ prompt, queryPrompt }: TowerManifest): Prompt[] {
  const all = [
    { name: prompt === '' ? 'none, as the tower has it' : 'the tower’s own', text: prompt },
    { name: 'none', text: '' },
    ...(queryPrompt === undefined ? [] : [{ name: 'the tower’s own for queries', text: queryPrompt }]),
    ...KNOWN_PROMPTS,
  ];
  return all.filter(({ text }, index) => all.findIndex((other) => other.text === text) === index);
}

/** The layouts that differ in some of the texts. */
export function layoutsFor(texts: readonly StoredText[]): Layout[] {
  return [
    'text',
    ...(texts.some(({ title }) => title !== '') ? (['title and text'] as const) : []),
    ...(texts.some(({ text, composed = text }) => composed !== text) ? (['metadata and text'] as const) : []),
  ];
}

/** Poolings other than the tower's own; none where a server pools. */
export function otherPoolings({ pooling }: TowerManifest): Pooling[] {
  return pooling === REMOTE_POOLING ? [] : POOLINGS.filter((other) => other !== pooling);
}

/** Lengths other than the tower's own; none where a server cuts. */
export function lengthsFor({ maxTokens, pooling }: TowerManifest): number[] {
  if (pooling === REMOTE_POOLING) return [];
  return LENGTHS.filter((length) => length !== maxTokens);
}

/** What the tower reads of a stored text, without the prompt. */
export function inputOf({ title, text, composed = text }: StoredText, layout: Layout): string {
  if (layout === 'metadata and text') return composed;
  return layout === 'text' || title === '' ? text : `${title} ${text}`;
}

/** Whether a variant is the tower as its manifest has it, so that its vectors are in the tower's space. */
export function isOwn(
  { prompt, pooling, maxTokens }: Variant,
  { prompt: own, pooling: ownPooling, maxTokens: ownMaxTokens }: TowerManifest,
): boolean {
  return prompt.text === own && pooling === ownPooling && maxTokens === ownMaxTokens;
}
