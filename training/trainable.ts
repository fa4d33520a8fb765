import type { TowerManifest } from '../towers/manifest.ts';
import type { PoolingMode } from '../towers/space.ts';
import { TrainingError } from './errors.ts';

/** Poolings that we differentiate. */
const TRAINABLE = ['mean', 'cls', 'last'] as const satisfies readonly PoolingMode[];
export type TrainablePooling = (typeof TRAINABLE)[number];

/**
 * How a tower pools, if that is something whose gradient we have: a graph that is trained as if it pooled otherwise
 * would learn the wrong vectors. As a teacher any tower will do.
 *
 * @throws {TrainingError} `REQUEST_INVALID`
 */
export function trainablePooling({
  name,
  pooling,
  head,
  poolPrompt,
}: Pick<TowerManifest, 'name' | 'pooling' | 'head' | 'poolPrompt'>): TrainablePooling {
  const refuse = (what: string): TrainingError =>
    new TrainingError(
      'REQUEST_INVALID',
      `${name} ${what}, which can't be trained; it can be the teacher of a lookup student, or take another base`,
    );
  if (head !== undefined) {
    throw refuse(`has layers after its pooling (${head.map(({ type }) => type).join(', ')})`);
  }
  if (poolPrompt === false) throw refuse('leaves its prompt out of the pooling');
  const known = TRAINABLE.find((each) => each === pooling);
  if (known === undefined) throw refuse(`has ${[pooling].flat().join(' and ')} pooling`);
  return known;
}
