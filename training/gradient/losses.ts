import type { GraphBuilder } from '../onnx/builder.ts';
import { int } from '../onnx/model.ts';

/** Name of the batch's input that holds the teacher's vectors, float32 [batch, dimensions]. */
export const TEACHER = 'teacher';

/** Name of the batch's input that holds unit vectors of documents, float32 [batch, dimensions]: with a term that looks at them. */
export const DOCUMENTS = 'documents';

/** How much each term of a {@link distillationLoss} counts. A term that counts 0 is not computed. */
export interface LossWeights {
  /** Mean square error, over elements, of the student's vectors as they come, before normalisation. @default 1 */
  readonly mse?: number;
  /** 1 − cosine of student and teacher, mean over texts. @default 1 */
  readonly cosine?: number;
  /**
   * Cross entropy of finding each text's own document vector among the batch's by the student's cosine
   * (https://arxiv.org/abs/1807.03748). Needs document vectors. @default 0
   */
  readonly contrastive?: number;
  /**
   * Divergence (KL) of how the student ranks the batch's documents from how the teacher ranks them: cosines over the
   * temperature, as shares of all documents. The teacher decides what is relevant, so that twins of a text's own document
   * and others that answer it count as what they are. Needs document vectors. @default 0
   */
  readonly ranking?: number;
  /** What cosines to documents are divided by. @default 0.05 */
  readonly temperature?: number;
}

/** Whether a loss looks at documents. */
export function seesDocuments({ contrastive = 0, ranking = 0 }: LossWeights): boolean {
  return contrastive > 0 || ranking > 0;
}

/**
 * The distance of a student's vectors to its teacher's: MSE + (1 − cosine), each weighted, plus terms on
 * document vectors.
 *
 * @param vectors - names of float32 values of shape [batch, dimensions]. `documents` holds unit vectors.
 * @returns the name of a value without dimensions.
 */
export function distillationLoss(
  g: GraphBuilder,
  vectors: { student: string; teacher: string; documents?: string },
  weights: LossWeights = {},
): string {
  const { student, teacher, documents } = vectors;
  const { mse = 1, cosine = 1, contrastive = 0, ranking = 0, temperature = 0.05 } = weights;
  const mean = (value: string): string => g.node('ReduceMean', [value], { keepdims: int(0) });
  const direction = cosine > 0 || seesDocuments(weights) ? unit(g, student) : '';
  const terms: [weight: number, term: () => string][] = [
    [mse, () => mean(square(g, g.node('Sub', [student, teacher])))],
    [
      cosine,
      () => g.node('Sub', [g.scalar(1), mean(rowSum(g, g.node('Mul', [direction, unit(g, teacher)])))]),
    ],
    [contrastive, () => crossEntropy(g, direction, documents!, temperature)],
    [ranking, () => divergence(g, direction, unit(g, teacher), documents!, temperature)],
  ];
  const weighted = terms
    .filter(([weight]) => weight > 0)
    .map(([weight, term]) => g.node('Mul', [term(), g.scalar(weight)]));
  return weighted.reduce((sum, term) => g.node('Add', [sum, term]));
}

/** Of in-batch negatives: row i should score column i highest. */
function crossEntropy(g: GraphBuilder, queries: string, documents: string, temperature: number): string {
  const scores = g.node('MatMul', [queries, g.node('Transpose', [documents])]);
  const own = rowSum(g, g.node('Mul', [queries, documents]));
  const all = g.node('ReduceLogSumExp', [g.node('Div', [scores, g.scalar(temperature)]), g.ints([-1])]);
  const margin = g.node('Sub', [all, g.node('Div', [own, g.scalar(temperature)])]);
  return g.node('ReduceMean', [margin], { keepdims: int(0) });
}

/** Of the shares that the student gives the documents from those that the teacher gives them, mean over texts. */
function divergence(
  g: GraphBuilder,
  student: string,
  teacher: string,
  documents: string,
  temperature: number,
): string {
  const across = g.node('Transpose', [documents]);
  const logShares = (queries: string): string => {
    const scores = g.node('Div', [g.node('MatMul', [queries, across]), g.scalar(temperature)]);
    return g.node('Sub', [scores, g.node('ReduceLogSumExp', [scores, g.ints([-1])])]);
  };
  const wanted = logShares(teacher);
  const missing = g.node('Sub', [wanted, logShares(student)]);
  return g.node('ReduceMean', [rowSum(g, g.node('Mul', [g.node('Exp', [wanted]), missing]))], {
    keepdims: int(0),
  });
}

/** Each row divided by its length. One that is too short to have a direction stays as it is. */
export function unit(g: GraphBuilder, value: string): string {
  const squares = rowSum(g, square(g, value));
  // A root has no slope at 0. Without this choice a vector of zeros makes the whole batch's gradient NaN.
  const isShort = g.node('Less', [squares, g.scalar(MIN_LENGTH ** 2)]);
  return g.node('Div', [value, g.node('Sqrt', [g.node('Where', [isShort, g.scalar(1), squares])])]);
}

const MIN_LENGTH = 1e-12;

function square(g: GraphBuilder, value: string): string {
  return g.node('Mul', [value, value]);
}

function rowSum(g: GraphBuilder, value: string): string {
  return g.node('ReduceSum', [value, g.ints([-1])]);
}
