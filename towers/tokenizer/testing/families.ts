import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

const TOWERS = new URL('../../../../towers/', import.meta.url);

/** What `towers/tokenizer/reference/generate.py` wrote. */
export function readReference(name: 'strings' | 'ids' | 'families'): unknown {
  const file = readFileSync(new URL(`tokenizer/reference/${name}.json.gz`, TOWERS));
  return JSON.parse(gunzipSync(file).toString('utf8'));
}

/** Text of `tokenizer.json` of each family, that of the default tower among them. */
export function familyFiles(): Record<string, string> {
  const files: Record<string, string> = {
    bert: readFileSync(new URL('shipped/all-MiniLM-L6-v2-lookup/tokenizer.json', TOWERS), 'utf8'),
  };
  for (const [name, file] of Object.entries(readReference('families') as Record<string, object>)) {
    files[name] = JSON.stringify(file);
  }
  return files;
}
