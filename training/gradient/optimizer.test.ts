import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GraphBuilder } from '../onnx/builder.ts';
import { runAsIs } from '../onnx/run.ts';
import { float32, int64, toNumbers, type Tensor } from '../onnx/tensor.ts';
import { assertClose, type Numbers, readReference, tensorOf } from '../testing/reference.ts';
import { adamW, type OptimizerOptions } from './optimizer.ts';

type Weights = Record<'matrix' | 'bias', Numbers>;
interface Reference {
  start: Weights;
  cases: {
    options: OptimizerOptions;
    steps: { gradients: Weights; rate: number; norm: number; weights: Weights }[];
  }[];
  schedules: (OptimizerOptions & { rates: number[] })[];
}

/** What a step of the optimiser returns: its state, the learning rate and the gradient's length. */
interface Taken {
  state: Record<string, Tensor>;
  rate: number;
  norm: number;
}

/** A step at a time: a matrix, which decays, and a bias, which does not. */
function stepper(start: Record<string, Tensor>, options: OptimizerOptions) {
  const g = new GraphBuilder();
  g.input('step', 'int64', []);
  const state: Record<string, Tensor> = { step: int64([0], []) };
  const parameters = Object.entries(start).map(([weight, value]) => {
    for (const name of [weight, `gradient/${weight}`]) g.input(name, 'float32', value.dims);
    state[weight] = value;
    const moment = (kind: string): string => {
      const name = g.input(`${kind}/${weight}`, 'float32', value.dims);
      state[name] = float32(value.dims, new Float32Array(value.data.length));
      return name;
    };
    return {
      weight,
      gradient: `gradient/${weight}`,
      mean: moment('mean'),
      meanSquare: moment('meanSquare'),
      decays: value.dims.length > 1,
    };
  });
  const update = adamW(g, 'step', parameters, options);
  g.output('next/step', update.step);
  g.output('rate', update.rate);
  g.output('norm', update.norm);
  for (const [index, { weight, mean, meanSquare }] of parameters.entries()) {
    const next = update.parameters[index]!;
    g.output(`next/${weight}`, next.weight);
    g.output(`next/${mean}`, next.mean);
    g.output(`next/${meanSquare}`, next.meanSquare);
  }
  const model = g.build();
  return async (gradients: Record<string, Tensor>): Promise<Taken> => {
    const given = Object.entries(gradients).map(([name, value]) => [`gradient/${name}`, value]);
    const [found] = await runAsIs(model, [{ ...state, ...Object.fromEntries(given) }]);
    for (const name of Object.keys(state)) state[name] = found![`next/${name}`]!;
    return { state, rate: toNumbers(found!['rate']!)[0]!, norm: toNumbers(found!['norm']!)[0]! };
  };
}

const tensorsOf = (weights: Weights): Record<string, Tensor> =>
  Object.fromEntries(Object.entries(weights).map(([name, value]) => [name, tensorOf(value)]));

const { start, cases, schedules } = readReference<Reference>('optimizer');

for (const { options, steps } of cases) {
  test(`every step is that of PyTorch's AdamW with clipping: ${JSON.stringify(options)}`, async () => {
    const take = stepper(tensorsOf(start), options);
    assert.equal(steps.length, options.steps);
    for (const [index, expected] of steps.entries()) {
      const { state, rate, norm } = await take(tensorsOf(expected.gradients));
      assertClose([rate], expected.rate, `rate of step ${index + 1}`, 1e-6);
      assertClose([norm], expected.norm, `length of gradient ${index + 1}`);
      for (const [name, value] of Object.entries(expected.weights))
        assertClose(toNumbers(state[name]!), value, `${name} after step ${index + 1}`, 2e-6);
    }
  });
}

for (const { rates, ...options } of schedules) {
  test(`the schedule is PyTorch's warm-up and cosine decay: ${JSON.stringify(options)}`, async () => {
    const take = stepper({ weight: float32([1], [0]) }, options);
    const found: number[] = [];
    for (const _ of rates) found.push((await take({ weight: float32([1], [1]) })).rate);
    for (const [index, rate] of rates.entries()) {
      const error = Math.abs(found[index]! - rate);
      assert.ok(error < 1e-6 * options.rate, `rate ${index + 1} is ${found[index]}, PyTorch has ${rate}`);
    }
  });
}

test('a first step that a head can check: as long as the rate, whatever the gradient', async () => {
  // Both moments of the first gradient g, without their bias, are g and g²: the step is rate · g / |g|. A matrix loses
  // 0.01 of the rate besides, by default; a bias loses nothing.
  const take = stepper(
    { matrix: float32([1, 2], [10, -10]), bias: float32([1], [10]) },
    { rate: 0.5, steps: 100, warmup: 1 },
  );
  const { state, norm } = await take({ matrix: float32([1, 2], [0.003, -40]), bias: float32([1], [30]) });
  assertClose([norm], 50, 'length', 1e-4);
  assertClose(toNumbers(state['matrix']!), [10 - 0.5 - 0.05, -10 + 0.5 + 0.05], 'matrix', 1e-5);
  assertClose(toNumbers(state['bias']!), [10 - 0.5], 'bias', 1e-5);
  // Clipped to a length of 1, a fiftieth, and 0.1 of it: the means. Of the squares a thousandth.
  assertClose(toNumbers(state['mean/bias']!), [0.06], 'mean', 1e-6);
  assertClose(toNumbers(state['meanSquare/bias']!), [0.36e-3], 'mean square', 1e-8);
});
