import { TowerError } from '../errors.ts';

/** The files of a tower in the layout of the Hugging Face hub. */
export interface HubPlan {
  /** The ONNX file. */
  model: string;
  /** Its external data, as far as names tell. */
  data: readonly string[];
  /** Small files that say how the model is to be used. */
  small: readonly string[];
}

/** ONNX files to choose from if nobody names one, best first: full exports, then compressed ones. */
const MODELS = [
  'onnx/model.onnx',
  'model.onnx',
  'onnx/model_quantized.onnx',
  'onnx/model_int8.onnx',
  'onnx/model_q4.onnx',
  'onnx/model_fp16.onnx',
];

/** Files at the top that say how a model is to be used. Those of modules lie in folders, each with a `config.json`. */
const SMALL_FILES = [
  'tokenizer.json',
  'tokenizer_config.json',
  'config.json',
  'modules.json',
  'sentence_bert_config.json',
  'config_sentence_transformers.json',
];

/** Configurations of modules: `1_Pooling/config.json`, `0_Transformer/sentence_bert_config.json`, ... */
const MODULE_FILE = /^[^/]+\/(?:config|sentence_bert_config|router_config)\.json$/;

/** Names under which sentence-transformers once kept what is in `sentence_bert_config.json` now. */
const OLD_SENTENCE_CONFIG = /^sentence_(?!bert)[\w-]+_config\.json$/;

/**
 * Chooses the files to fetch.
 *
 * @param files all files of the tower
 * @param model the ONNX file that the reference names
 * @throws {TowerError} `TOWER_NOT_FOUND`
 */
export function planHub(files: readonly string[], model: string | undefined, where: string): HubPlan {
  const onnx = files.filter((path) => path.endsWith('.onnx'));
  const only = onnx.length === 1 ? onnx[0] : undefined;
  const chosen = model ?? MODELS.find((path) => onnx.includes(path)) ?? only;
  const notFound = (why: string): TowerError =>
    new TowerError('TOWER_NOT_FOUND', `${where}: ${why}`, { metadata: { reference: where } });
  if (chosen === undefined || !onnx.includes(chosen)) {
    const choice =
      onnx.length === 0 ? 'it has no ONNX file' : `it has ${onnx.join(', ')}: name one after "#"`;
    throw notFound(`${model === undefined ? 'no model found' : `no "${model}"`}; ${choice}`);
  }
  if (!files.includes('tokenizer.json')) {
    const other = files.find((path) => path.endsWith('tokenizer.json'));
    const advice = other === undefined ? 'save the fast tokenizer' : `rename or copy ${other}`;
    throw notFound(`it has no tokenizer.json (${advice})`);
  }
  const old = files.find((path) => OLD_SENTENCE_CONFIG.test(path));
  if (old !== undefined && !files.includes('sentence_bert_config.json')) {
    throw notFound(`${old} is an old name: rename it to sentence_bert_config.json`);
  }
  return {
    model: chosen,
    data: files.filter((path) => path.startsWith(`${chosen}_data`) || path.startsWith(`${chosen}.data`)),
    small: [
      ...SMALL_FILES.filter((path) => files.includes(path)),
      ...files.filter((path) => MODULE_FILE.test(path)).sort(),
    ],
  };
}
