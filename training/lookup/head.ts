import type { InferenceSession } from 'onnxruntime-node';
import { differentiate } from '../gradient/differentiate.ts';
import { distillationLoss, DOCUMENTS, seesDocuments, TEACHER, type LossWeights } from '../gradient/losses.ts';
import { LOSS } from '../gradient/step.ts';
import { GraphBuilder } from '../onnx/builder.ts';
import { prune } from '../onnx/prune.ts';
import { openSession, toRuntime } from '../onnx/run.ts';
import { float32, type Tensor } from '../onnx/tensor.ts';
import { PROJECTION } from './model.ts';

const MEANS = 'means';

/** A loss, and its gradients by what led to it. */
export interface HeadResult {
  loss: number;
  byMeans: Float32Array;
  byProjection: Float32Array | undefined;
}

/** What comes after the sums of rows: the projection, where there is one, the scale and the loss. A graph, with its gradient. */
export class LossHead {
  readonly #session: InferenceSession;
  readonly #names: { means: string; projection: string | undefined };

  private constructor(session: InferenceSession, names: { means: string; projection: string | undefined }) {
    this.#session = session;
    this.#names = names;
  }

  /**
   * @param options.width - components of a mean
   * @param options.hasProjection - whether a matrix leads from them to the dimensions
   */
  static async open(options: {
    width: number;
    dimensions: number;
    hasProjection: boolean;
    scale: number;
    loss: LossWeights;
    threads?: number | undefined;
  }): Promise<LossHead> {
    const { width, dimensions, hasProjection, scale, loss, threads } = options;
    const g = new GraphBuilder();
    const means = g.input(MEANS, 'float32', ['batch', width]);
    const vectors = hasProjection
      ? g.node('MatMul', [means, g.input(PROJECTION, 'float32', [width, dimensions])])
      : means;
    const sides = {
      student: g.node('Mul', [vectors, g.scalar(scale)]),
      teacher: g.input(TEACHER, 'float32', ['batch', dimensions]),
      ...(seesDocuments(loss) && {
        documents: g.input(DOCUMENTS, 'float32', ['batch', dimensions]),
      }),
    };
    g.output(LOSS, distillationLoss(g, sides, loss));
    const trained = hasProjection ? [MEANS, PROJECTION] : [MEANS];
    const { g: whole, gradients } = await differentiate(g.build(), LOSS, trained);
    const [byMeans, byProjection] = trained.map((name) => whole.output(`by_${name}`, gradients.get(name)!));
    const outputs = [LOSS, byMeans!, ...(byProjection === undefined ? [] : [byProjection])];
    const session = await openSession(prune(whole.build(), outputs), threads);
    return new LossHead(session, { means: byMeans!, projection: byProjection });
  }

  /** @param feeds - of the head's inputs: means, projection, teacher, documents */
  async run(feeds: {
    means: Tensor;
    teacher: Tensor;
    projection?: Tensor | undefined;
    documents?: Tensor | undefined;
  }): Promise<HeadResult> {
    const { means, teacher, projection, documents } = feeds;
    const results = await this.#session.run({
      [MEANS]: toRuntime(means),
      [TEACHER]: toRuntime(teacher),
      ...(projection && { [PROJECTION]: toRuntime(projection) }),
      ...(documents && { [DOCUMENTS]: toRuntime(documents) }),
    });
    const values = (name: string): Float32Array => results[name]!.data as Float32Array;
    return {
      loss: values(LOSS)[0]!,
      byMeans: values(this.#names.means),
      byProjection: this.#names.projection === undefined ? undefined : values(this.#names.projection),
    };
  }

  close(): Promise<void> {
    return this.#session.release();
  }
}

/** Rows as the head takes them. */
export function rowsTensor(values: Float32Array, width: number): Tensor {
  return float32([values.length / width, width], values);
}
