import { posix } from 'node:path';
import type * as z from 'zod';
import { TowerError } from '../errors.ts';
import type { Activation, Pooling, PoolingMode } from '../space.ts';
import {
  DenseConfig,
  DropoutConfig,
  LayerNormConfig,
  Modules,
  NormalizeConfig,
  PoolingConfig,
} from './schemas.ts';

/** Reads a small file of a tower; undefined where there is none. */
export type ReadFile = <T>(path: string, schema: z.ZodType<T>) => T | undefined;

/** A layer over the pooled vector, and the file of the source that holds its weights. */
export type HubLayer =
  | {
      type: 'dense';
      file: string;
      config: string;
      activation: Activation;
      residual: boolean;
      bias: boolean;
      /** Width of the vectors that it gives, and of those that it takes. */
      into: number;
      from: number;
    }
  | { type: 'layer_norm'; file: string; from: number }
  | { type: 'normalize' };

/** A number of components that some file states. */
export interface StatedWidth {
  file: string;
  field: string;
  value: number;
}

/** What `modules.json` and the files that it leads to say. */
export interface HubModules {
  /** Folder of the language model's own files; empty for the top. */
  transformer: string;
  pooling: Pooling | undefined;
  poolPrompt: boolean;
  /** Of a token's vector. */
  tokenWidth: StatedWidth | undefined;
  layers: HubLayer[];
  /** Whether the last thing is a scaling to unit length; undefined where there is no `modules.json` to say so. */
  normalize: boolean | undefined;
}

/** Class names of sentence-transformers that we can run, after its language model. */
const AFTER_POOLING = new Set(['Dense', 'LayerNorm', 'Normalize', 'Dropout']);

/** In the order in which sentence-transformers concatenates what the old keys ask for. */
const OLD_MODES = [
  ['pooling_mode_cls_token', 'cls'],
  ['pooling_mode_max_tokens', 'max'],
  ['pooling_mode_mean_tokens', 'mean'],
  ['pooling_mode_mean_sqrt_len_tokens', 'mean_sqrt_len_tokens'],
  ['pooling_mode_weightedmean_tokens', 'weightedmean'],
  ['pooling_mode_lasttoken', 'last'],
] as const satisfies readonly [string, PoolingMode][];

/** What sentence-transformers calls the modes, to what we do. */
const MODE_NAMES: ReadonlyMap<string, PoolingMode> = new Map([
  ['cls', 'cls'],
  ['max', 'max'],
  ['mean', 'mean'],
  ['mean_sqrt_len_tokens', 'mean_sqrt_len_tokens'],
  ['weightedmean', 'weightedmean'],
  ['lasttoken', 'last'],
]);

/** Last part of the names of PyTorch's activations, to ours. */
const ACTIVATIONS: ReadonlyMap<string, Activation> = new Map([
  ['Identity', 'identity'],
  ['Tanh', 'tanh'],
  ['ReLU', 'relu'],
  ['GELU', 'gelu'],
  ['Sigmoid', 'sigmoid'],
  ['SiLU', 'silu'],
]);

/** Where the pooling's configuration lies in folders that have it without a `modules.json`. */
const POOLING_FILE = '1_Pooling/config.json';

/**
 * Reads `modules.json` and the configuration of each module.
 *
 * @param paths all files of the source
 * @throws {TowerError} `TOWER_MODEL_UNSUPPORTED` for what we can't run as it is meant, `TOWER_MANIFEST_INVALID`
 */
export function readModules(read: ReadFile, paths: readonly string[], source: string): HubModules {
  const refuse = (message: string): TowerError =>
    new TowerError('TOWER_MODEL_UNSUPPORTED', `${source}: ${message}`);
  const modules = read('modules.json', Modules);
  if (modules === undefined) {
    const pooling = read(POOLING_FILE, PoolingConfig);
    return { transformer: '', layers: [], normalize: undefined, ...poolingOf(pooling, POOLING_FILE, refuse) };
  }
  const kinds = modules.map(({ type, path }, index) => {
    const name = type.split('.').at(-1)!;
    const field = `modules.json, [${index}].type`;
    if (!type.startsWith('sentence_transformers.')) {
      throw refuse(
        `${field}: "${type}" is code of the model's own, which can't be run here; ${EXPORT_WHOLE}`,
      );
    }
    const folder = posix.normalize(path === '' ? '.' : path).replace(/\/$/, '');
    if (folder.startsWith('..') || posix.isAbsolute(folder)) {
      throw refuse(`modules.json, [${index}].path: "${path}" leads out of the folder`);
    }
    return { name, field, folder: folder === '.' ? '' : folder };
  });
  const [first, second, ...rest] = kinds;
  if (first?.name !== 'Transformer') {
    throw refuse(`${first?.field}: the first module is ${first?.name}, not a Transformer; ${EXPORT_WHOLE}`);
  }
  if (second !== undefined && second.name !== 'Pooling') {
    throw refuse(`${second.field}: ${second.name} between the model and its pooling; ${EXPORT_WHOLE}`);
  }
  const file = second === undefined ? undefined : posix.join(second.folder, 'config.json');
  const config = file === undefined ? undefined : read(file, PoolingConfig);
  if (file !== undefined && config === undefined) {
    throw refuse(`modules.json names a Pooling, and there is no ${file}`);
  }
  const layers = rest.flatMap(({ name, field, folder }): HubLayer[] => {
    if (!AFTER_POOLING.has(name)) {
      throw refuse(`${field}: ${name} after the pooling is not understood; ${EXPORT_WHOLE}`);
    }
    return layerOf(name, folder, { read, paths, refuse });
  });
  const normalize = layers.at(-1)?.type === 'normalize';
  return {
    transformer: first.folder,
    layers: normalize ? layers.slice(0, -1) : layers,
    normalize,
    ...poolingOf(config, file ?? 'modules.json', refuse),
  };
}

const EXPORT_WHOLE = 'export the whole model into the graph, with an output "sentence_embedding"';

interface Context {
  read: ReadFile;
  paths: readonly string[];
  refuse: (message: string) => TowerError;
}

function layerOf(name: string, folder: string, { read, paths, refuse }: Context): HubLayer[] {
  const file = posix.join(folder, 'config.json');
  const required = <T>(schema: z.ZodType<T>): T => {
    const config = read(file, schema);
    if (config === undefined) throw refuse(`modules.json names a ${name}, and there is no ${file}`);
    return config;
  };
  const weights = (): string => {
    const path = posix.join(folder, 'model.safetensors');
    if (paths.includes(path)) return path;
    const pickle = posix.join(folder, 'pytorch_model.bin');
    throw refuse(
      paths.includes(pickle)
        ? `${pickle}: pickled weights are code and are not read; save the ${name} as ${path}`
        : `there are no weights of the ${name}: no ${path}`,
    );
  };
  switch (name) {
    case 'Normalize':
      read(file, NormalizeConfig);
      return [{ type: 'normalize' }];
    case 'Dropout':
      read(file, DropoutConfig);
      return [];
    case 'LayerNorm':
      return [{ type: 'layer_norm', file: weights(), from: required(LayerNormConfig).dimension }];
    default: {
      const {
        in_features: from,
        out_features: into,
        activation_function: called,
        ...config
      } = required(DenseConfig);
      const activation = called === undefined ? 'tanh' : ACTIVATIONS.get(called.split('.').at(-1)!);
      if (activation === undefined || called?.startsWith('torch.') === false) {
        const known = [...ACTIVATIONS.keys()].join(', ');
        throw refuse(
          `${file}, activation_function: "${called}" is none of torch's ${known}; ${EXPORT_WHOLE}`,
        );
      }
      const { bias = true, use_residual: residual = false } = config;
      return [{ type: 'dense', file: weights(), config: file, activation, residual, bias, from, into }];
    }
  }
}

function poolingOf(
  config: PoolingConfig | undefined,
  file: string,
  refuse: (message: string) => TowerError,
): Pick<HubModules, 'pooling' | 'poolPrompt' | 'tokenWidth'> {
  if (config === undefined) return { pooling: undefined, poolPrompt: true, tokenWidth: undefined };
  const modes = config.pooling_mode === undefined ? oldModes(config) : namedModes(config.pooling_mode);
  const width = config.embedding_dimension ?? config.word_embedding_dimension;
  const field = config.embedding_dimension === undefined ? 'word_embedding_dimension' : 'embedding_dimension';
  return {
    pooling: modes.length === 1 ? modes[0] : modes,
    poolPrompt: config.include_prompt ?? true,
    tokenWidth: width === undefined ? undefined : { file, field, value: width },
  };

  function namedModes(names: string | string[]): PoolingMode[] {
    return [names].flat().map((name) => {
      const mode = MODE_NAMES.get(name);
      if (mode === undefined) {
        throw refuse(`${file}, pooling_mode: "${name}" is none of ${[...MODE_NAMES.keys()].join(', ')}`);
      }
      return mode;
    });
  }
}

type PoolingConfig = z.infer<typeof PoolingConfig>;

function oldModes(config: PoolingConfig): PoolingMode[] {
  const asked = OLD_MODES.filter(([key]) => config[key] === true).map(([, mode]) => mode);
  return asked.length === 0 ? ['mean'] : asked;
}
