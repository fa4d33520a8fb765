import { stringify } from 'yaml';
import type { TowerManifest } from '../../towers/manifest.ts';

/** What a tower says of itself to readers and to the Hugging Face hub. */
export const CARD_FILE = 'README.md';

/** The card of a student: a YAML head as the Hugging Face hub reads it, then what the manifest says, in words. */
export function studentCard({ name, license, space, distillation }: TowerManifest): string {
  const {
    teacher,
    student,
    texts,
    steps,
    loss,
    heldOutCosine,
    corpus,
    sources = [],
    removed,
    init,
  } = distillation!;
  const head = {
    // The hub writes SPDX's names in lower case.
    license: license.toLowerCase(),
    tags: ['feature-extraction', 'query-encoder', 'scalingnote'],
    ...(teacher.startsWith('all-MiniLM') && { base_model: `sentence-transformers/${teacher}` }),
  };
  const lines = [
    '---',
    stringify(head).trimEnd(),
    '---',
    '',
    `# ${name}`,
    '',
    `A query tower (\`${student}\`) for documents that \`${teacher}\` encoded (space \`${space.fingerprint}\`). It was fitted to the`,
    `teacher's vectors of ${texts} texts without labels: ${loss}, ${steps} steps. Mean cosine to the teacher on texts that were held`,
    `out: ${heldOutCosine.toFixed(4)}. It encodes queries, not documents.`,
    ...(init === undefined ? [] : ['', `It was started from ${init}.`]),
    ...(removed === undefined
      ? []
      : ['', `${removed} texts were left out because they are queries of an evaluation.`]),
    '',
    '## Texts',
    '',
    ...(sources.length === 0
      ? [corpus ?? 'not named']
      : [
          '| source | licence | texts | attribution |',
          '| ------ | ------- | ----- | ----------- |',
          ...sources.map((each) =>
            [each.source, each.licence, each.texts, each.attribution ?? ''].map(cell).join(' ').concat(' |'),
          ),
        ]),
    '',
    '```sh',
    `npx scalingnote eval --dataset DIR --query-tower file:PATH/TO/${name}`,
    '```',
    '',
  ];
  return lines.join('\n');
}

function cell(value: string | number): string {
  return `| ${String(value).replaceAll('|', '\\|').replaceAll(/\s+/g, ' ')}`;
}
